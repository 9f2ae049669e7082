"""The privacy policies of accounts, bots and conversations: read, written, tried out."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.orm import Session

from core.context import account_of
from core.drafts import checked_words
from core.privacy.policy import Policy, effective
from core.privacy.policy_documents import Document, read_policy
from core.rows import own
from core.said import Said
from core.shields import shield_for
from models import Account, Bot, Conversation

Owner = Account | Bot | Conversation


def owner_of(
    session: Session, *, bot_id: uuid.UUID | str | None = None, conversation_id: uuid.UUID | str | None = None
) -> Owner:
    """The bot or the conversation, else the account.

    Raises:
        NotFound, NotAuthorized.

    """
    if conversation_id is not None:
        return own(session, Conversation, conversation_id)
    if bot_id is not None:
        return own(session, Bot, bot_id)
    return session.get_one(Account, account_of(session))


def set_policy(session: Session, owner: Owner, document: Any) -> Document | None:
    """Writes a policy; null takes it away. What is stored already is looked at again by a job, if asked for.

    Raises:
        InvalidInput: a field that cannot be used; nothing is stored.

    """
    policy = read_policy(document) if document is not None else None
    # Two who write wait for each other, and nobody who only links to the row waits for them.
    session.refresh(owner, with_for_update={"key_share": True})
    if owner.privacy_policy != policy:
        owner.privacy_policy = policy
        if not isinstance(owner, Conversation):
            owner.privacy_rev += 1
    session.flush()
    return policy


def effective_of(session: Session, owner: Owner) -> Policy:
    """What holds for texts of this account, bot or conversation, with what broader policies say."""
    account = session.get_one(Account, account_of(session)).privacy_policy
    if isinstance(owner, Account):
        return effective(account)
    if isinstance(owner, Bot):
        return effective(account, owner.privacy_policy, bot_flag=owner.privacy)
    bot = session.get(Bot, owner.bot_id) if owner.bot_id else None
    return effective(
        account,
        bot.privacy_policy if bot else None,
        owner.privacy_policy,
        bot_flag=bool(bot and bot.privacy),
        conversation_flag=owner.privacy,
    )


def try_out(
    session: Session,
    words: str,
    document: Any = None,
    *,
    bot_id: uuid.UUID | str | None = None,
    conversation_id: uuid.UUID | str | None = None,
) -> Said:
    """What a policy makes of a text, and nothing of it is stored: that of a conversation, of a bot or of the
    account, or the one that is given, on top of them. Tokens are examples.

    Raises:
        InvalidInput: the policy. NotFound, NotAuthorized. PrivacyFailed.

    """
    words = checked_words(words)
    given = read_policy(document) if document is not None else None
    conversation = None if conversation_id is None else own(session, Conversation, conversation_id)
    bot = conversation.bot_id if conversation else None
    if bot_id is not None:
        bot = own(session, Bot, bot_id).id
    account = account_of(session)
    # The tokens of a conversation itself would tell whoever tries values out which of them it holds.
    shield = shield_for(
        session,
        account,
        account,
        bot=bot,
        contact=conversation.contact_id if conversation else None,
        kept={},
        privacy=bool(conversation and conversation.privacy),
        policy=given if given is not None else conversation.privacy_policy if conversation else None,
    )
    return Said(words) if shield is None else shield.said(words)

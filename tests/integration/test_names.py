"""Names that are no text: refused in a sentence, never sent to PostgreSQL."""

from __future__ import annotations

import pytest

from core.accounts import find_account
from core.bots import find_bot
from core.errors import InvalidInput


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800b"])
def test_a_name_that_cannot_be_stored_names_nothing(context, account, name):
    with pytest.raises(InvalidInput), context.transaction(account) as session:
        find_bot(session, name)
    with pytest.raises(InvalidInput), context.transaction() as session:
        find_account(session, name)

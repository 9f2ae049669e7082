"""Nouns: tables, states and constraints. Imports SQLAlchemy and nothing of ours."""

from models.accounts import Account, ApiToken, LoginLink
from models.base import Base, first_id_of, new_id, new_ids
from models.bots import Bot
from models.contacts import Contact, Rating
from models.conversations import (
    ABOUT,
    MAX_TEXT_BYTES,
    Conversation,
    ConversationStatus,
    Message,
    MessageType,
)
from models.deliveries import Channel, Delivery, DeliveryState, Event, Subscription, SubscriptionState
from models.doors import IdempotencyKey, SessionToken
from models.files import (
    Attachment,
    Blob,
    BlobLeftover,
    BlobState,
    BlobTicket,
    DatasetFile,
    File,
    TicketKind,
)
from models.jobs import DUE_STATES, UNFINISHED, Job, JobKind, JobState
from models.knowledge import Ability, Dataset, Record, Skillset, Visibility
from models.runs import ACTIVE, OPEN, ErrorClass, Reason, Run, RunState, RunStep, Trigger
from models.tasks import (
    Action,
    CatchUp,
    ConversationMode,
    Overlap,
    Task,
    TaskClock,
    TaskState,
    TaskUsageDay,
)
from models.usage import UsageDay

__all__ = [
    "ABOUT",
    "ACTIVE",
    "DUE_STATES",
    "MAX_TEXT_BYTES",
    "OPEN",
    "UNFINISHED",
    "Ability",
    "Account",
    "Action",
    "ApiToken",
    "Attachment",
    "Base",
    "Blob",
    "BlobLeftover",
    "BlobState",
    "BlobTicket",
    "Bot",
    "CatchUp",
    "Channel",
    "Contact",
    "Conversation",
    "ConversationMode",
    "ConversationStatus",
    "Dataset",
    "DatasetFile",
    "Delivery",
    "DeliveryState",
    "ErrorClass",
    "Event",
    "File",
    "IdempotencyKey",
    "Job",
    "JobKind",
    "JobState",
    "LoginLink",
    "Message",
    "MessageType",
    "Overlap",
    "Rating",
    "Reason",
    "Record",
    "Run",
    "RunState",
    "RunStep",
    "SessionToken",
    "Skillset",
    "Subscription",
    "SubscriptionState",
    "Task",
    "TaskClock",
    "TaskState",
    "TaskUsageDay",
    "TicketKind",
    "Trigger",
    "UsageDay",
    "Visibility",
    "first_id_of",
    "new_id",
    "new_ids",
]

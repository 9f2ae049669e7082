"""The dialect's shapes: what requests are checked against, and what the OpenAPI document tells of answers.

Requests ignore keys they do not know, so that newer SDKs do no harm; which fields were given tells
"unchanged" from "cleared" (contract section 1.4).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, WithJsonSchema

Item = TypeVar("Item")
LAST_MILLISECOND = 253_402_300_799_999  # of the year 9999
Milliseconds = Annotated[int, Field(description="Epoch milliseconds.")]


def _whole(value: Any) -> Any:
    """A JSON number without a fraction: Python's SDK may write 60000.0; true and "5" are no numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be a whole number")
    return value


def _span(value: Any) -> Any:
    """Milliseconds become a timedelta; what no timedelta can hold is no duration."""
    value = _whole(value)
    if value is None:
        return None
    if not 0 <= value <= MOST_MILLISECONDS:
        raise ValueError("must be a number of milliseconds, at most a hundred years")
    return timedelta(milliseconds=value)


def _moment(value: Any) -> Any:
    """Epoch milliseconds or an ISO-8601 string become an aware datetime; the string names its offset."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
        else:
            found = datetime.fromtimestamp(_whole(value) / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(MOMENT) from error
    if found.tzinfo is None:
        raise ValueError(MOMENT)
    return found


def _local_moment(value: Any) -> datetime | str:
    """Epoch milliseconds become an instant; a text is left to the verb, which knows the zone."""
    if isinstance(value, str):
        return value
    number = _whole(value)
    if number is None or not 0 <= number <= LAST_MILLISECOND:
        raise ValueError("must be epoch milliseconds or a date")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)


def _amount(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("must be a number")
    return value


MOST_MILLISECONDS = 100 * 366 * 86_400_000
MOMENT = "must be epoch milliseconds or an ISO-8601 time with its offset"
Whole = Annotated[int | None, BeforeValidator(_whole)]
Span = Annotated[
    timedelta | None, BeforeValidator(_span), WithJsonSchema({"type": "integer", "nullable": True})
]
Moment = Annotated[
    datetime | None, BeforeValidator(_moment), WithJsonSchema({"type": "integer", "nullable": True})
]
LocalMoment = Annotated[
    Any,
    BeforeValidator(_local_moment),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": "Epoch milliseconds, or a date or date-time; local to the task without an offset.",
        }
    ),
]
Money = Annotated[float | None, BeforeValidator(_amount)]
Text = StrictStr | None
Meta = Annotated[
    dict[str, Any] | None, Field(description='Merged key by key on update, also as {"$update": {…}}.')
]


class Request(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    def given(self, names: dict[str, str]) -> dict[str, Any]:
        """The fields that were sent, under the names our verbs know them by."""
        return {verb: getattr(self, field) for field, verb in names.items() if field in self.model_fields_set}


class AssertionsShape(BaseModel):
    """What the answer of a run must have, or the run fails with the class `assertion`. Case is ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    contains: list[StrictStr] | None = None
    notContains: list[StrictStr] | None = None
    minLength: Whole = Field(default=None, description="Characters.")


class TaskRequest(Request):
    name: Text = None
    description: Text = Field(default=None, description="The prompt.")
    botId: Text = None
    contactId: Text = None
    schedule: Text = Field(
        default=None, description="A named interval, a cron expression, HH:MM, a date or @every 90s."
    )
    timezone: Text = Field(default=None, description="An IANA name; null is UTC.")
    action: Text = Field(default=None, description="complete, receive or send.")
    maxTime: Whole = Field(default=None, description="Milliseconds.")
    maxIterations: Whole = None
    maxCalls: Whole = Field(default=None, description="Calls of functions and abilities a run may make.")
    maxTokens: Whole = Field(default=None, description="Tokens a run may use.")
    maxCost: Money = Field(default=None, description="Money a run may cost, by the operator's price table.")
    maxTokensPerDay: Whole = Field(default=None, description="Tokens all runs of a UTC day may use.")
    maxCostPerDay: Money = None
    overlap: Text = Field(default=None, description="skip, queue, allow or cancel_previous.")
    catchUp: Text = Field(default=None, description="After an outage: latest, all or none.")
    catchUpWindow: Span = Field(default=None, description="Milliseconds; null is the installation's.")
    catchUpMax: Whole = Field(default=None, description="The most that run with catchUp all.")
    jitter: Span = Field(default=None, description="Milliseconds over which the runs are spread.")
    startsAt: Moment = Field(default=None, description="Epoch milliseconds or ISO 8601.")
    expiresAt: Moment = Field(default=None, description="Epoch milliseconds or ISO 8601.")
    maxAttempts: Whole = Field(default=None, description="Attempts of a run, the first one included.")
    retryDelay: Span = Field(default=None, description="Milliseconds before the second attempt, at most.")
    retryOn: list[StrictStr] | None = Field(default=None, description="The error classes worth a retry.")
    conversationMode: Text = Field(default=None, description="new, reuse or one.")
    sessionDuration: Span = Field(
        default=None, description="Milliseconds a conversation is reused; 0 and null: every run has its own."
    )
    assertions: AssertionsShape | None = Field(default=None, description="What an answer must keep.")
    maxConsecutiveFailures: Whole = Field(default=None, description="Failures after which it is paused.")
    meta: Meta = None


class PauseRequest(Request):
    until: Moment = Field(default=None, description="When it goes on by itself; null: when it is resumed.")


class SubscriptionRequest(Request):
    kind: StrictStr = Field(description="webhook or email.")
    target: StrictStr = Field(description="An https URL, or an e-mail address. Never shown again.")
    events: list[StrictStr] | None = Field(
        default=None, description="success, recovery, failure, missed, budget, paused; all unless told."
    )
    includeText: StrictBool = Field(
        default=False, description="Send the answer and the task's name along; else no text at all."
    )


class SubscriptionChange(Request):
    events: list[StrictStr] | None = None
    includeText: StrictBool | None = None
    active: StrictBool | None = Field(default=None, description="false stops it; true starts it again.")


class TriggerRequest(Request):
    prompt: Text = Field(default=None, description="What this run is told instead of the task's prompt.")
    description: Text = Field(default=None, description="The same, by the name a task has for it.")


class BackfillRequest(Request):
    since: LocalMoment = Field(alias="from")
    until: LocalMoment
    everything: StrictBool = Field(
        default=False, alias="all", description="Those that have succeeded or are under way as well."
    )
    atOnce: Whole = Field(default=None, description="Unfinished runs at a time; 1 unless told.")
    pace: Whole = Field(default=None, description="Runs that may begin in a minute.")
    prompt: Text = Field(default=None, description="What these runs are told instead of the task's prompt.")
    dryRun: StrictBool = Field(default=False, description="Only answer what it would come to.")


class Answer(BaseModel):
    """Answers leave out what is not set."""

    model_config = ConfigDict(extra="forbid")


class Identified(Answer):
    id: str


class Triggered(Identified):
    runId: str


class CancelledExecution(Identified):
    taskId: str


class Page(Answer, Generic[Item]):
    items: list[Item]
    cursor: str = Field(description='The id of the last item, "" on an empty page.')


class Instants(Answer):
    items: list[Milliseconds]


class Instance(Identified):
    createdAt: Milliseconds
    updatedAt: Milliseconds
    name: str | None = None
    description: str | None = None
    meta: dict[str, Any] | None = None


class TaskAnswer(Instance):
    botId: str | None = None
    contactId: str | None = None
    action: str
    schedule: str | None = None
    timezone: str | None = None
    status: Literal["idle", "running", "canceled"]
    outcome: Literal["pending", "success", "failure"]
    paused: bool
    pauseReason: str | None = None
    maxTime: int | None = None
    maxIterations: int | None = None
    maxCalls: int | None = None
    maxTokens: int | None = None
    maxCost: float | None = None
    maxTokensPerDay: int | None = None
    maxCostPerDay: float | None = None
    overlap: Literal["skip", "queue", "allow", "cancel_previous"]
    catchUp: Literal["latest", "all", "none"]
    catchUpWindow: int | None = None
    catchUpMax: int | None = None
    jitter: int | None = None
    startsAt: Milliseconds | None = None
    expiresAt: Milliseconds | None = None
    pausedUntil: Milliseconds | None = None
    maxAttempts: int | None = None
    retryDelay: int | None = None
    retryOn: list[str] | None = None
    conversationMode: Literal["new", "reuse", "one"]
    sessionDuration: int | None = None
    assertions: AssertionsShape | None = None
    maxConsecutiveFailures: int | None = None
    consecutiveFailures: int
    lastRunAt: Milliseconds | None = None
    nextRunAt: Milliseconds | None = None


class ExecutionAnswer(Instance):
    taskId: str
    conversationId: str | None = None
    status: Literal["idle", "running", "canceled"]
    outcome: Literal["pending", "success", "failure"]
    summary: str | None = None
    completedAt: str | None = Field(default=None, description="ISO 8601, UTC.")


class UsageAnswer(Answer):
    token: int
    inputTokens: int
    outputTokens: int
    modelCalls: int
    cost: float | None = Field(default=None, description="In the operator's currency.")


class StepAnswer(Answer):
    step: str
    outcome: str | None = None
    errorCode: str | None = None
    worker: str | None = None
    deliveryId: str | None = None
    model: str | None = None
    finishReason: str | None = None
    inputTokens: int | None = None
    outputTokens: int | None = None
    startedAt: Milliseconds
    finishedAt: Milliseconds | None = None


class RunAnswer(Identified):
    taskId: str | None = None
    conversationId: str | None = None
    trigger: str
    action: str
    scheduledFor: Milliseconds | None = None
    coversFrom: Milliseconds | None = None
    coversCount: int | None = None
    backfillId: str | None = None
    state: str
    outcome: str | None = None
    reason: str | None = None
    errorClass: str | None = None
    errorCode: str | None = None
    summary: str | None = None
    attempt: int
    crashes: int
    worker: str | None = None
    deliveryId: str | None = None
    model: str | None = None
    usage: UsageAnswer
    runAt: Milliseconds
    createdAt: Milliseconds
    startedAt: Milliseconds | None = None
    finishedAt: Milliseconds | None = None
    steps: list[StepAnswer] | None = None


class ExplanationAnswer(Answer):
    at: Milliseconds
    verdict: str = Field(description="A run's state, several, or why there is no row.")
    sentences: list[str]
    runs: list[RunAnswer]


class Percentiles(Answer):
    p50: Annotated[int, Field(description="Milliseconds.")]
    p95: int


class HistoryUsage(Answer):
    token: int
    modelCalls: int
    cost: float


class HistoryAnswer(Answer):
    items: list[RunAnswer]
    counts: dict[str, int]
    successRate: float | None = None
    duration: Percentiles | None = None
    lateness: Percentiles | None = None
    usage: HistoryUsage


class Subscribed(Identified):
    secret: str | None = Field(default=None, description="A webhook's signing secret, shown only here.")


class Tested(Identified):
    deliveryId: str


class SubscriptionAnswer(Identified):
    taskId: str
    kind: str
    host: str
    events: list[str]
    includeText: bool
    state: str
    disabledReason: str | None = Field(default=None, description="user, gone or failing.")
    consecutiveFailures: int
    failingSince: Milliseconds | None = None
    createdAt: Milliseconds
    updatedAt: Milliseconds


class DeliveryAnswer(Identified):
    taskId: str
    subscriptionId: str
    runId: str | None = None
    kind: str
    host: str
    event: str
    state: str
    attempt: int
    statusCode: int | None = None
    errorCode: str | None = None
    nextAttemptAt: Milliseconds | None = None
    createdAt: Milliseconds
    finishedAt: Milliseconds | None = None


class EstimateAnswer(Answer):
    tokens: int
    cost: int = Field(description="Millionths of the operator's currency.")
    fromRuns: int


class BackfillPlan(Answer):
    id: str | None = Field(default=None, description="Absent after a dry run.")
    total: int
    toRun: int
    first: Milliseconds
    last: Milliseconds
    ledger: dict[str, int] = Field(description="Occurrences of the range that have a row, by its state.")
    estimate: EstimateAnswer | None = None


class BackfillAnswer(Identified):
    taskId: str | None = None
    state: str
    errorClass: str | None = None
    since: Milliseconds = Field(alias="from")
    until: Milliseconds
    schedule: str
    timezone: str | None = None
    everything: bool = Field(alias="all")
    atOnce: int
    pace: int | None = None
    prompt: str | None = None
    total: int
    done: int
    skipped: int
    failed: int
    underWay: int
    left: int
    leftSeconds: int | None = None
    cursor: Milliseconds | None = None
    createdAt: Milliseconds
    startedAt: Milliseconds | None = None
    finishedAt: Milliseconds | None = None


class ConversationAnswer(Instance):
    botId: str | None = None
    contactId: str | None = None
    taskId: str | None = None
    runId: str | None = None
    backstory: str | None = None
    model: str | None = None
    datasetId: str | None = None
    skillsetId: str | None = None
    privacy: bool
    moderation: bool
    source: str
    status: Literal["active", "archived"]
    expiresAt: Milliseconds | None = None


class MessageAnswer(Instance):
    conversationId: str
    type: str
    text: str
    runId: str | None = None

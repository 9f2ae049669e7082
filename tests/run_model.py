"""What the run verbs promise, as plain objects in memory: the model that PostgreSQL is compared with.

It knows nothing of locks, leases in seconds or SQL. An epoch that has moved on is all that makes a zombie.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields

ACTIVE = ("pending", "running")
ATTEMPTS = 3
CRASHES = 3
# What a model call may come to: the class it ends in, how many attempts that class is worth, does it pause.
FAILURES = {
    "cut off": ("provider_error", "stream_cut", ATTEMPTS),
    "away": ("provider_error", "http_503", ATTEMPTS),
    "busy": ("quota", "http_429", ATTEMPTS),
    "busy for a day": ("quota", "http_429", 1),
    "empty": ("empty_output", "empty", 2),
    "half": ("truncated", "length", 1),
    "refused": ("refused", "refused", 1),
    "misconfigured": ("misconfigured", "http_401", 1),
    "a bug": ("internal_error", "ValueError", ATTEMPTS),
    "too long twice": ("context_too_long", "context_length", 1),
}
OUTCOMES = ("good", "good after half", *FAILURES)
# What a failed run had of an answer is kept, out of the model's sight.
KEPT = {"cut off", "half"}
# How many tokens a call that ended in a Finished is counted with; see `Scripted`.
COUNTED = {"good", "good after half", "half", "refused", "empty"}
TOKENS = 10


@dataclass(eq=False)
class Bot:
    id: uuid.UUID
    gone: bool = False


@dataclass(eq=False)
class Task:
    id: uuid.UUID
    bot: Bot
    action: str
    state: str = "active"
    due: str | None = None
    failures: int = 0

    def seen(self) -> dict:
        return {
            "state": self.state,
            "failures": self.failures,
            "scheduled": self.state == "active",
            "due": self.due is not None,
        }

    def pause(self) -> None:
        if self.state == "active":
            self.state = "paused"
        self.due = None

    def resume(self) -> None:
        if self.state == "paused":
            self.state, self.failures = "active", 0


@dataclass(eq=False)
class Conversation:
    id: uuid.UUID
    bot: Bot
    messages: int = 0
    next_seq: int = 1
    purge_epoch: int = 0

    def seen(self) -> dict:
        return {"messages": self.messages, "next_seq": self.next_seq, "purge_epoch": self.purge_epoch}

    def say(self) -> None:
        self.messages += 1
        self.next_seq += 1


@dataclass(eq=False)
class Run:
    action: str
    task: Task | None = None
    conversation: Conversation | None = None
    state: str = "pending"
    reason: str | None = None
    trigger: str = "manual"
    id: uuid.UUID | None = None
    due: bool = True
    hinted: bool = False
    expired: bool = False
    epoch: int = 0
    attempt: int = 0
    crashes: int = 0
    model_calls: int = 0
    tokens: int = 0
    error_class: str | None = None
    error_code: str | None = None
    reply: str | None = None
    steps: dict[str, str | None] = field(default_factory=dict)

    def seen(self) -> dict:
        names = (
            field.name for field in fields(self) if field.name not in {"id", "action", "task", "trigger"}
        )
        conversation = str(self.conversation.id) if self.conversation else None
        return {**{name: getattr(self, name) for name in names}, "conversation": conversation}

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    def close_steps(self, outcome: str) -> None:
        self.steps = {step: was or outcome for step, was in self.steps.items()}

    def claim(self) -> bool:
        if self.state != "pending" or not self.due:
            return False
        self.state, self.error_class, self.error_code = "running", None, None
        self.epoch, self.attempt = self.epoch + 1, self.attempt + 1
        self.steps[f"attempt.{self.epoch}"] = None
        return True

    def call(self) -> None:
        self.model_calls += 1
        self.steps[f"model.{self.model_calls}"] = None

    def back_to_the_queue(self) -> None:
        self.state, self.hinted, self.expired = "pending", False, False

    def end(self, state: str, error_class: str | None = None, error_code: str | None = None) -> None:
        self.state, self.expired = state, False
        self.error_class, self.error_code = error_class, error_code

    def cancel(self) -> None:
        if self.active:
            self.end("cancelled", "cancelled")
            self.epoch += 1
            self.close_steps("cancelled")

    def reap(self) -> None:
        self.crashes += 1
        self.epoch += 1
        self.close_steps("lost")
        if self.crashes < CRASHES:
            self.back_to_the_queue()
            return
        self.hinted = False
        self.end("failed", "poison")
        self._count_failure()

    def release(self) -> None:
        self.back_to_the_queue()
        self.attempt -= 1
        self.close_steps("released")

    def discard(self) -> None:
        self.back_to_the_queue()
        self.close_steps("discarded")

    def succeed(self, reply: str | None) -> None:
        self.end("succeeded")
        self.close_steps("succeeded")
        if reply is not None and self.conversation:
            self.reply = reply
            self.conversation.say()
        if self.task:
            self.task.failures = 0

    def fail(self, error_class: str, code: str, attempts: int) -> str:
        """Answers `retried`, or the class it ended in."""
        self.close_steps(error_class)
        if self.attempt < attempts:
            self.back_to_the_queue()
            self.error_class, self.error_code, self.due = error_class, code, False
            return "retried"
        self.end("failed", error_class, code)
        self._count_failure()
        if self.task and error_class == "misconfigured":
            self.task.pause()
        return error_class

    def _count_failure(self) -> None:
        if self.task:
            self.task.failures += 1


@dataclass(eq=False)
class Held:
    """A run in mid-call somewhere: what its worker knows, which may not be true any more."""

    run: Run
    epoch: int
    purge_epoch: int
    lost: bool = False
    trusted: bool = True

    @property
    def valid(self) -> bool:
        """Whether the row is still this worker's, whatever the worker believes."""
        return self.run.state == "running" and self.run.epoch == self.epoch

    def beat(self) -> None:
        if self.valid:
            self.trusted, self.run.expired = True, False
        else:
            self.lost = True

    def release(self) -> None:
        self.lost = True
        if self.valid:
            self.run.release()

    def settle(self, outcome: str, reply: str) -> str:
        """What the worker's word for it must be; a zombie changes nothing."""
        run = self.run
        believed = not self.lost and self.trusted
        if outcome.startswith(("good after", "too long")) and believed and self.valid:
            run.call()  # the second call, with half the history
        if not believed or not self.valid:
            return "lost"
        run.tokens += TOKENS if outcome in COUNTED else 0
        if outcome in FAILURES:
            word = run.fail(*FAILURES[outcome])
            seen = run.conversation and run.conversation.purge_epoch == self.purge_epoch
            if word != "retried" and outcome in KEPT and seen:
                run.conversation.say()
            return word
        if run.conversation and run.conversation.purge_epoch != self.purge_epoch:
            run.discard()
            return "discarded"
        run.succeed(reply)
        return "succeeded"


@dataclass
class World:
    """Everything there is, in the order it came."""

    tasks: list[Task] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)

    def busy(self, *, task: Task | None = None, conversation: Conversation | None = None) -> bool:
        return any(
            run.active
            and ((task and run.task is task) or (conversation and run.conversation is conversation))
            for run in self.runs
        )

    def spawn(self, task: Task, trigger: str) -> Run:
        return Run(task.action, task, trigger=trigger)

    def fire(self) -> list[Run]:
        """The rows that every due clock comes to, each instant once."""
        made: list[Run] = []
        for task in self.tasks:
            due, task.due = task.due, None
            if due == "after an outage":
                made.append(_unrun(task, "missed", "outside_window", "catch_up"))
            elif due and due != "again":
                trigger = "schedule" if due == "on time" else "catch_up"
                if due == "late":
                    made.append(_unrun(task, "missed", "outside_window", trigger))
                reason = "no_bot" if task.bot.gone else "overlap" if self.busy(task=task) else None
                made.append(_unrun(task, "skipped", reason, trigger) if reason else self.spawn(task, trigger))
        return made

    def delete_task(self, task: Task) -> None:
        self.cancel_of(task)
        task.state, task.due = "deleted", None

    def cancel_of(self, task: Task) -> None:
        for run in self.runs:
            if run.task is task:
                run.cancel()

    def delete_conversation(self, conversation: Conversation) -> None:
        self.conversations.remove(conversation)
        for run in self.runs:
            if run.conversation is conversation:
                run.cancel()
                run.conversation, run.reply = None, None

    def used(self) -> dict:
        """What the account is told it used: the model calls and tokens of all runs."""
        calls, tokens = (run.model_calls for run in self.runs), (run.tokens for run in self.runs)
        return {"calls": sum(calls), "tokens": sum(tokens)}


def _unrun(task: Task, state: str, reason: str, trigger: str) -> Run:
    return Run(task.action, task, state=state, reason=reason, trigger=trigger)

"""The options of `crontalk task create` and `update` that say under which policies a task runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidInput

if TYPE_CHECKING:
    from cli.show import Document

POLICIES = "Policies"
LIMITS = "Limits and budgets"


def _option(name: str, told: str, panel: str = POLICIES) -> Any:
    return typer.Option(name, help=told, rich_help_panel=panel)


MaxTime = Annotated[
    int | None, _option("--max-time", "Milliseconds a run may take; 0 for no own limit.", LIMITS)
]
MaxIterations = Annotated[int | None, _option("--max-iterations", "Model calls a run may make.", LIMITS)]
MaxTokens = Annotated[int | None, _option("--max-tokens", "Tokens a run may use.", LIMITS)]
MaxCost = Annotated[float | None, _option("--max-cost", "Money a run may cost (CRONTALK_PRICES).", LIMITS)]
MaxTokensPerDay = Annotated[
    int | None, _option("--max-tokens-per-day", "Tokens all runs of a UTC day may use.", LIMITS)
]
MaxCostPerDay = Annotated[
    float | None, _option("--max-cost-per-day", "Money all runs of a UTC day may cost.", LIMITS)
]
Overlap = Annotated[
    str | None,
    _option("--overlap", "While a run is under way: skip (default), queue, allow or cancel_previous."),
]
CatchUp = Annotated[
    str | None, _option("--catch-up", "After an outage: latest (default), all or none of what was due.")
]
CatchUpWindow = Annotated[
    str | None, _option("--catch-up-window", "How far back, such as 6h; an hour by default.")
]
CatchUpMax = Annotated[int | None, _option("--catch-up-max", "How many at most with --catch-up all.")]
Jitter = Annotated[str | None, _option("--jitter", "Spread the runs over this span, such as 5m; 0 for none.")]
StartsAt = Annotated[str | None, _option("--starts-at", "Not before this time (ISO 8601); '' for at once.")]
ExpiresAt = Annotated[str | None, _option("--expires-at", "Not from this time on; '' for never.")]
MaxAttempts = Annotated[
    int | None, _option("--max-attempts", "Attempts of a run; 0 for the installation's number.")
]
RetryDelay = Annotated[str | None, _option("--retry-delay", "Back-off of the first retry, such as 30s.")]
RetryOn = Annotated[
    list[str] | None,
    _option("--retry-on", "An error class worth a retry; may be repeated; 'default' for the usual."),
]
SessionDuration = Annotated[
    str | None, _option("--session", "One conversation for the runs of this span, or 'one' for all, or 0.")
]
Contains = Annotated[
    list[str] | None, _option("--must-contain", "An answer without this fails; may be repeated; '' for none.")
]
NotContains = Annotated[
    list[str] | None,
    _option("--must-not-contain", "An answer with this fails; may be repeated; '' for none."),
]
MinLength = Annotated[int | None, _option("--min-length", "Shorter answers fail (characters).")]
MaxFailures = Annotated[
    int | None, _option("--max-failures", "Failures in a row after which the task is paused; 0 for never.")
]


def read_duration(text: str, name: str) -> timedelta | None:
    """`90s`, `1h30m`, `2d`; a plain number is seconds, and 0 none."""
    from core.schedule import parse

    plain = text.strip()
    if plain in {"0", ""}:
        return None
    try:
        return parse(f"@every {plain}s" if plain.isdecimal() else f"@every {plain}", None).interval
    except InvalidInput:
        raise InvalidInput(f"{name} is a span such as 90s, 10m, 1h30m or 2d.") from None


def read_instant(text: str, name: str, zone: str | None = None) -> datetime | None:
    """An ISO-8601 time, or none; without an offset it is local to `zone`, or UTC."""
    from core.schedule import read_instant as read

    if not text.strip():
        return None
    try:
        return read(text, zone)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None


def policies(**given: Any) -> dict[str, Any]:
    """The given options as the verbs know them."""
    fields = {name: value for name, value in given.items() if value is not None}
    for name in ("catch_up_window", "jitter", "retry_delay"):
        if name in fields:
            fields[name] = read_duration(fields[name], f"--{name.replace('_', '-')}")
    for name in ("starts_at", "expires_at"):
        if name in fields:
            fields[name] = read_instant(fields[name], f"--{name.replace('_', '-')}", given.get("timezone"))
    if "retry_on" in fields:
        fields["retry_on"] = None if fields["retry_on"] == ["default"] else fields["retry_on"]
    sessions = fields.pop("sessions", None)
    if sessions == "one":
        fields |= {"conversation_mode": "one", "session_duration": None}
    elif sessions is not None:
        fields["session_duration"] = read_duration(sessions, "--session")
    return fields


def assertions(kept: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The assertions of a task after these options; `kept` are those it has."""
    changed = dict(kept)
    for name, value in given.items():
        if value is not None:
            changed[name] = None if value in ([""], 0) else value
    return {name: value for name, value in changed.items() if value}


def told(document: Document) -> list[tuple[str, Any]]:
    """The policies of a task's document that are not the defaults, for people."""
    from cli.show import moment

    zone = document.get("timezone")
    usual = {"overlap": "skip", "catchUp": "latest", "conversationMode": "new"}
    names = {
        "overlap": "overlap",
        "catchUp": "catch-up",
        "catchUpMax": "catch-up at most",
        "maxTime": "time of a run (ms)",
        "maxIterations": "model calls of a run",
        "maxTokens": "tokens of a run",
        "maxCost": "cost of a run",
        "maxTokensPerDay": "tokens of a day",
        "maxCostPerDay": "cost of a day",
        "maxAttempts": "attempts",
        "conversationMode": "conversation",
        "maxConsecutiveFailures": "failures until paused",
    }
    rows = [
        (label, document[key])
        for key, label in names.items()
        if document.get(key) not in {None, usual.get(key)}
    ]
    for key, label in (
        ("catchUpWindow", "catch-up window"),
        ("jitter", "jitter"),
        ("retryDelay", "retry delay"),
        ("sessionDuration", "session"),
    ):
        if key in document:
            rows.append((label, timedelta(milliseconds=document[key])))
    for key, label in (("startsAt", "starts"), ("expiresAt", "expires"), ("pausedUntil", "paused until")):
        if key in document:
            rows.append((label, moment(document[key], zone)))
    if "retryOn" in document:
        rows.append(("retried", ", ".join(document["retryOn"]) or "nothing"))
    kept = document.get("assertions", {})
    for key, label in (("contains", "must contain"), ("notContains", "must not contain")):
        rows += [(label, one) for one in kept.get(key, [])]
    if "minLength" in kept:
        rows.append(("at least", f"{kept['minLength']} characters"))
    return rows

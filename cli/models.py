"""`crontalk model …`: which models there are, and whether one answers. Needs no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson
from cli.show import Document, facts, items, out, table

if TYPE_CHECKING:
    from core.platform import Model
    from core.settings import Settings
    from core.trying import Trial

app = typer.Typer(help="Models and their endpoints.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The models that this environment names: the offline one, the default and those of CRONTALK_MODELS."""
    from core.platform import models_of
    from core.settings import read_settings

    settings = read_settings()
    documents = [_document(model, settings) for model in models_of(settings)]
    columns = ["name", "provider", "upstream", "context", "capabilities", "fallback", "price"]
    out(items(documents), as_json, table(columns, map(_row, documents), "No models."))


@app.command("test")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as offline, or gpt-5/temperature=0.2.")],
    as_json: AsJson = False,
) -> None:
    """Ask a model for a word and, where it can call functions, for a call. Exit code 1 when it fails."""
    from rich.console import Group

    from core.chat.providers import providers_of
    from core.settings import read_settings
    from core.trying import try_model

    settings = read_settings()
    providers = providers_of(settings)
    try:
        trials = try_model(settings, providers, name)
    finally:
        providers.close()
    works = all(trial.code is None for trial in trials)
    told = [_tried(trial) for trial in trials]
    document = {"model": name, "works": works, "trials": told}
    out(document, as_json, Group(*(facts(_told(trial)) for trial in told)))
    if not works:
        raise typer.Exit(1)


def _document(model: Model, settings: Settings) -> Document:
    from core.chat.endpoints import OFFLINE
    from core.chat.model_name import parse_model

    default = parse_model(settings.llm_model or OFFLINE).name
    price = model.price
    return {
        "name": model.name,
        "default": model.name == default,
        "provider": model.provider,
        "family": model.family,
        "upstream": model.upstream,
        "contextTokens": settings.endpoint(model.name).context_tokens,
        "maxInputTokens": model.input_tokens,
        "maxOutputTokens": model.output_tokens,
        "capabilities": list(model.capabilities),
        "fallback": model.fallback,
        "price": price and {"input": float(price.input), "output": float(price.output)},
    }


def _row(document: Document) -> list[Any]:
    price = document["price"]
    return [
        document["name"] + (" (default)" if document["default"] else ""),
        document["provider"],
        document["upstream"],
        document["contextTokens"],
        ", ".join(document["capabilities"]),
        document["fallback"],
        f"{price['input']:g} / {price['output']:g}" if price else "",
    ]


def _tried(trial: Trial) -> Document:
    return {
        "what": trial.what,
        "works": trial.code is None,
        "firstTokenMs": None if trial.first is None else round(trial.first * 1000),
        "totalMs": round(trial.seconds * 1000),
        "finishReason": trial.finish,
        "inputTokens": trial.input_tokens,
        "outputTokens": trial.output_tokens,
        "reasons": trial.reasons,
        "errorClass": trial.error_class,
        "errorCode": trial.code,
        "hint": trial.hint,
    }


def _told(trial: Document) -> list[tuple[str, Any]]:
    error = f"{trial['errorClass']} ({trial['errorCode']})"
    return [
        (trial["what"], "works" if trial["works"] else "failed"),
        ("  first token", None if trial["firstTokenMs"] is None else f"{trial['firstTokenMs']} ms"),
        ("  total", f"{trial['totalMs']} ms"),
        ("  finished with", trial["finishReason"]),
        ("  tokens", f"{trial['inputTokens']} in, {trial['outputTokens']} out"),
        ("  thinks aloud", "yes" if trial["reasons"] else None),
        ("  error", None if trial["works"] else error),
        ("  hint", trial["hint"]),
    ]

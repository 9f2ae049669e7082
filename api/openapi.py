"""The OpenAPI document, made exact: every operation with the very statuses, headers and examples it has.

FastAPI knows the shapes; what an endpoint may answer beside 200 follows from its method, from the ids it
takes, and from what it declares (`also_answers`, `takes_session_tokens`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from api.chatbotkit.answers import CSV, JSON, JSONL, SAID
from api.chatbotkit.examples import EXAMPLES
from api.chatbotkit.shapes_files import UploadRequest
from api.errors import CODES, is_conversations
from api.once import HEADER

Json = dict[str, Any]
Endpoints = Mapping[tuple[str, str], Callable[..., Any]]

ALWAYS = frozenset({400, 401, 403, 429, 500, 503})
OF_POSTS = frozenset({413, 415, 422})
# Bytes cannot be compared with those of an earlier request without keeping them.
WITHOUT_KEY = ("/upload",)
RATE_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
HEADERS = {
    "RateLimit-Limit": ("integer", "Requests of this kind in the time of the rate; X-RateLimit-Limit too."),
    "RateLimit-Remaining": ("integer", "How many may come at once; X-RateLimit-Remaining too."),
    "RateLimit-Reset": ("integer", "Seconds until the whole limit is there again; X-RateLimit-Reset too."),
    "Retry-After": ("integer", "Seconds."),
    "X-Failure-Code": ("string", "The `code` of the body."),
    "WWW-Authenticate": ("string", "Bearer."),
    "Idempotency-Replayed": ("string", "`true` when the write was made before, under the same key."),
}
HEADERS_OF: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    403: ("X-Failure-Code", *RATE_HEADERS),
    429: ("Retry-After", "X-Failure-Code", *RATE_HEADERS),
    503: ("Retry-After",),
}
# Of the conversations API, whose windows are a user's.
WINDOW_HEADERS = {
    f"X-RateLimit-{name}": {"description": words, "schema": {"type": "integer"}}
    for name, words in {
        "Limit": "Calls in the window, where they are counted.",
        "Remaining": "How many may come at once.",
        "Reset": "The second since 1970 at which a place gets free.",
    }.items()
}
RETRY_HEADER = {"$ref": "#/components/headers/Retry-After"}
KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: for 24 hours the same request under the same key has"
    " one effect and one answer. Another request under it is 422; after an error it may be tried again.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
META = {
    "name": "meta",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "description": "Only items whose meta holds this: `meta[app]=x` or `meta.app=x`, up to 20.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
SESSION = {
    "type": "http",
    "scheme": "bearer",
    "description": "The token of a session, `cts_…`, for the session's own conversation.",
}
TAGS = {
    "task": "What runs on a schedule, what came of it, and who is told.",
    "backfill": "The past of a task, run once.",
    "retention": "How long what was said is kept, and what is kept whatever a rule says.",
    "job": "Long work on many things: how far it is.",
    "privacy": "What is found in what is said, and what happens to it.",
    "run": "Every occurrence and every turn, with its timeline.",
    "bot": "Who answers.",
    "conversation": "What was said.",
    "session": "Tokens for one conversation, fit for a browser. A page of any origin may use them.",
    "message": "What was said, one by one.",
    "conversations": "Live conversations, in General Bots' dialect: errors are `{error, message}`.",
    "channel": "What is said while it happens: dispatched turns, and what callers tell each other.",
    "contact": "Who a conversation is with.",
    "dataset": "What bots know.",
    "skillset": "What bots can do.",
    "file": "Files of the account.",
    "attachment": "Files of a conversation.",
    "usage": "What was used.",
    "event": "What happened.",
    "erasure": "What was deleted for good, and who was shown what is private.",
    "platform": "Which models there are, and who asks.",
    "health": "What a supervisor asks.",
    "metrics": "What Prometheus asks.",
}


def make_exact(document: Json, endpoints: Endpoints, prefix: str) -> Json:
    """The same document, completed in place; `endpoints` by method and path, the API's below `prefix`."""
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith(prefix):
                _complete(operation, method, path, endpoints[method, path], schemas)
            elif is_conversations(path):
                _complete_conversations(operation, method, endpoints[method, path])
    _complete_components(document)
    used = {tag for operation in operations_of(document) for tag in operation.get("tags", [])}
    document["tags"] = [{"name": tag, "description": words} for tag, words in TAGS.items() if tag in used]
    return document


def operations_of(document: Json) -> Iterator[Json]:
    for methods in document["paths"].values():
        yield from methods.values()


def resolved(part: Json, document: Json) -> Json:
    """What a `$ref` of this document points to; anything else is itself."""
    while "$ref" in part:
        place: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        part = place
    return part


def _complete(operation: Json, method: str, path: str, endpoint: Callable[..., Any], schemas: Json) -> None:
    body = _body_schema(operation, schemas)
    statuses = ALWAYS | getattr(endpoint, "also_answers", frozenset())
    if method == "post":
        statuses |= OF_POSTS
        if not path.endswith(WITHOUT_KEY):
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    if _names_ids(operation, path, body):
        statuses |= {404}
    done = operation["responses"]["200"]
    operation["responses"] = {"200": done} | {
        str(status): {"$ref": f"#/components/responses/{CODES[status]}"} for status in sorted(statuses)
    }
    shown = (*RATE_HEADERS, *(("Idempotency-Replayed",) if method == "post" else ()))
    done["headers"] = _header_refs(shown)
    if getattr(endpoint, "takes_session_tokens", False):
        operation["security"] = [*operation["security"], {"SessionToken": []}]
    _complete_forms(operation, done.get("content", {}), schemas)
    if body is not None:
        wanted = operation["requestBody"]
        wanted["required"] = bool(body.get("required"))
        wanted["content"][JSON]["example"] = EXAMPLES.get(operation["operationId"], _example(body))


def _complete_conversations(operation: Json, method: str, endpoint: Callable[..., Any]) -> None:
    """The other dialect declares its answers itself; its POSTs take a key as well."""
    counted = WINDOW_HEADERS if hasattr(endpoint, "bucket") else {}
    for status, more in (("200", {}), ("429", {"Retry-After": RETRY_HEADER})):
        operation["responses"][status]["headers"] = {**more, **counted}
    if method == "post":
        operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    else:
        operation["responses"].pop("422", None)


def _body_schema(operation: Json, schemas: Json) -> Json | None:
    """The schema of the body; of one that may be left out as well."""
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"][JSON]["schema"]
    for part in (schema, *schema.get("anyOf", [])):
        if "$ref" in part:
            found: Json = schemas[part["$ref"].rpartition("/")[2]]
            return found
    return schema  # type: ignore[no-any-return]


def _names_ids(operation: Json, path: str, body: Json | None) -> bool:
    """Whether it takes an id that may be unknown: in its address, as a filter, or in its body."""
    names = [parameter["name"] for parameter in operation.get("parameters", []) if "name" in parameter]
    names += (body or {}).get("properties", {})
    return "{" in path or any(name.endswith("Id") for name in names)


def _complete_forms(operation: Json, content: Json, schemas: Json) -> None:
    """The lines of a stream, and the meta filter that every list that streams has."""
    shape = content.get(JSON, {}).get("schema", {})
    whole = schemas.get(shape.get("$ref", "").rpartition("/")[2], {})
    item = whole.get("properties", {}).get("items", {}).get("items")
    if item is None or JSONL not in content:
        return
    operation["parameters"] = [*operation.get("parameters", []), {"$ref": "#/components/parameters/Meta"}]
    if content[JSONL]["schema"] == {"type": "string"}:
        content[JSONL]["schema"] = {
            "type": "object",
            "description": "One line of the answer: the whole list comes as one such object per line.",
            "required": ["type", "data"],
            "properties": {"type": {"type": "string", "const": "item"}, "data": item},
        }
    if CSV in content:
        content[CSV]["schema"]["description"] = "The whole list; the header row names the keys."


def _example(body: Json) -> Json:
    """The required fields, filled in by their types."""
    given = {"string": "…", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
    fields = body.get("properties", {})
    return {name: given.get(fields[name].get("type"), "…") for name in body.get("required", [])}


def _complete_components(document: Json) -> None:
    components = document["components"]
    components["securitySchemes"]["SessionToken"] = SESSION
    components["parameters"] = {"IdempotencyKey": KEY, "Meta": META}
    components["headers"] = {
        name: {"description": words, "schema": {"type": kind}} for name, (kind, words) in HEADERS.items()
    }
    error = {JSON: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    components["responses"] = {
        CODES[status]: {
            "description": words,
            "content": error,
            **({"headers": _header_refs(HEADERS_OF[status])} if status in HEADERS_OF else {}),
        }
        for status, words in SAID.items()
    }
    components["schemas"]["UploadRequest"] = UploadRequest.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)


def _header_refs(names: tuple[str, ...]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

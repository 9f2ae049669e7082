"""What a page of the documentation shows of an operation, read from the OpenAPI document. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.chatbotkit.answers import JSON, JSONL
from api.openapi import Json, resolved

DEEP = 3  # levels of an answer that a table shows
PLACES = {"path": "In the address", "query": "In the query", "header": "As headers"}
BRACES = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class FieldView:
    name: str
    kind: str
    required: bool
    words: str


@dataclass(frozen=True)
class StatusView:
    status: str
    words: str
    headers: list[FieldView]


@dataclass(frozen=True)
class FormView:
    """One media type of an answer, and the fields it has."""

    media_type: str
    words: str
    fields: list[FieldView]


@dataclass(frozen=True)
class OperationView:
    id: str
    title: str
    tag: str
    method: str
    path: str
    words: str
    security: list[str]
    parameters: list[tuple[str, list[FieldView]]]
    body: list[FieldView]
    example: str | None
    curl: str
    forms: list[FormView]
    statuses: list[StatusView]


@dataclass(frozen=True)
class TagView:
    name: str
    words: str
    operations: list[tuple[str, str, str, str]]
    """Id, method, path and first sentence."""


@dataclass(frozen=True)
class Found:
    method: str
    path: str
    operation: Json


def find_operation(document: Json, operation_id: str) -> Found | None:
    return next((found for found in _all(document) if found.operation["operationId"] == operation_id), None)


def tag_views(document: Json) -> list[TagView]:
    """The operations by their first tag, in the order of the document."""
    views = [TagView(tag["name"], tag["description"], []) for tag in document["tags"]]
    by_name = {view.name: view for view in views}
    for found in _all(document):
        words = found.operation.get("description") or found.operation["summary"]
        sentence = words.partition("\n\n")[0].replace("\n", " ")
        tag = found.operation.get("tags", ["other"])[0]
        if tag not in by_name:
            by_name[tag] = TagView(tag, "", [])
            views.append(by_name[tag])
        row = (found.operation["operationId"], found.method.upper(), found.path, sentence)
        by_name[tag].operations.append(row)
    return views


def operation_view(document: Json, found: Found, base: str) -> OperationView:
    operation = found.operation
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    parameters = [resolved(each, document) for each in operation.get("parameters", [])]
    done = operation["responses"]["200"]
    return OperationView(
        id=operation["operationId"],
        title=operation["summary"],
        tag=operation.get("tags", ["other"])[0],
        method=found.method.upper(),
        path=found.path,
        words=operation.get("description", ""),
        security=[_scheme(name, document) for each in operation.get("security", []) for name in each],
        parameters=[
            (words, [_parameter(each, document) for each in parameters if each["in"] == place])
            for place, words in PLACES.items()
            if any(each["in"] == place for each in parameters)
        ],
        body=list(_fields(body.get("schema", {}), document)),
        example=json.dumps(body["example"], indent=2, ensure_ascii=False) if body.get("example") else None,
        curl=curl(found, body.get("example"), base),
        forms=[_form(kind, part, document) for kind, part in done.get("content", {}).items()],
        statuses=[
            _status(status, resolved(part, document), document)
            for status, part in operation["responses"].items()
        ],
    )


def curl(found: Found, example: Json | None, base: str) -> str:
    """A command that asks for it; ids and the token are variables of the shell."""
    path = BRACES.sub(lambda place: "$" + _as_variable(place[1]), found.path)
    lines = [f'curl "{base}{path}"']
    if found.operation.get("security"):
        lines.append('-H "Authorization: Bearer $CRONTALK_TOKEN"')
    if found.method == "post":
        lines += ["-H 'Content-Type: application/json'", "-d " + shlex.quote(json.dumps(example or {}))]
    elif JSONL in found.operation["responses"]["200"].get("content", {}):
        lines.append("-H 'Accept: application/jsonl'  # the whole list; without it one page")
    return " \\\n  ".join(lines)


def _as_variable(name: str) -> str:
    """TaskId becomes TASK_ID."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def _all(document: Json) -> Iterator[Found]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Found(method, path, operation)


def _scheme(name: str, document: Json) -> str:
    words: str = document["components"]["securitySchemes"][name].get("description", name)
    return words


def _parameter(parameter: Json, document: Json) -> FieldView:
    kind = _kind(parameter.get("schema", {}), document)
    return FieldView(
        parameter["name"], kind, bool(parameter.get("required")), parameter.get("description", "")
    )


def _status(status: str, part: Json, document: Json) -> StatusView:
    shown = [
        FieldView(name, _kind(header["schema"], document), required=False, words=header["description"])
        for name, header in ((n, resolved(h, document)) for n, h in part.get("headers", {}).items())
    ]
    return StatusView(status, part.get("description", ""), shown)


def _form(media_type: str, part: Json, document: Json) -> FormView:
    schema = part.get("schema", {})
    return FormView(media_type, schema.get("description", ""), list(_fields(schema, document)))


def _fields(schema: Json, document: Json, before: str = "", depth: int = DEEP) -> Iterator[FieldView]:
    """The fields of an object and of what is inside it, by dotted names; `[]` is every item of a list."""
    shape = _object(schema, document)
    required = shape.get("required", [])
    for name, part in shape.get("properties", {}).items():
        inner = _object(part, document)
        words = part.get("description") or inner.get("description", "")
        yield FieldView(before + name, _kind(part, document), name in required, words)
        listed = _items(part, document)
        if depth > 1 and listed is not None:
            yield from _fields(listed, document, f"{before}{name}[].", depth - 1)
        elif depth > 1 and inner.get("properties"):
            yield from _fields(inner, document, f"{before}{name}.", depth - 1)


def _object(schema: Json, document: Json) -> Json:
    """The schema itself, or the one of its alternatives that has fields."""
    schema = resolved(schema, document)
    for part in schema.get("anyOf", []):
        found = resolved(part, document)
        if "properties" in found:
            return found
    return schema


def _items(schema: Json, document: Json) -> Json | None:
    for part in (schema, *schema.get("anyOf", [])):
        listed = resolved(part, document).get("items")
        if listed and "properties" in _object(listed, document):
            return dict(listed)
    return None


def _kind(schema: Json, document: Json) -> str:
    """The type in words: `text or null`, `list of object`."""
    schema = resolved(schema, document)
    if "anyOf" in schema:
        kinds = [_kind(part, document) for part in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), document)}"
    words: dict[Any, str] = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    found = schema.get("type", "anything")
    return words.get(found, str(found)) + (" or null" if schema.get("nullable") else "")

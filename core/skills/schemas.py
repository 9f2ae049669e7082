"""JSON schemas of arguments: which ones an ability may have, and whether arguments fit.

A schema is its owner's, and arguments are whatever a model made up, so neither may cost more than it is
worth: patterns are matched in linear time (RE2), and a schema refers to nothing outside or inside itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from core.errors import InvalidInput
from core.privacy.declared import KEYWORD
from core.skills.skill import SkillFailed

LONGEST = 64 * 1024
DEEPEST = 32
TOLD = 5  # faults of arguments that a model is told of
STEPS = 50_000  # of holding arguments against a schema: some seconds at the most
# Words by which a schema could grow without end, reach outside, or match by backtracking.
REFUSED = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor", "patternProperties"})
# Where schemas stand in schemas.
OF_NAMES = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
IN_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
ALONE = frozenset(
    {"items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains", "not"}
    | {"propertyNames", "if", "then", "else"}
)
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


def checked_schema(schema: Any) -> dict[str, Any]:
    """A schema of arguments as it may be stored; an empty one stays empty.

    Raises:
        InvalidInput: in a sentence that does not repeat what was sent.

    """
    if schema is None or schema == {}:
        return {}
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise InvalidInput('The parameters must be a JSON schema with "type": "object".')
    if not isinstance(schema.get("properties", {}), Mapping):
        raise InvalidInput("The properties of the parameters must be an object.")
    for one in _schemas(schema, DEEPEST):
        refused = sorted(REFUSED & one.keys())
        if refused:
            raise InvalidInput(f"The parameters may not use {refused[0]}.")
        if "pattern" in one and not _usable(one["pattern"]):
            raise InvalidInput(
                "A pattern in the parameters cannot be used: it is none, or looks around or back."
            )
    if len(json.dumps(schema)) > LONGEST:
        raise InvalidInput(f"The parameters are longer than {LONGEST} characters.")
    _refuse_malformed(schema)
    return {"properties": {}, **schema}


def check_arguments(schema: Mapping[str, Any], arguments: Any) -> None:
    """Holds what a model sent along with a call against the schema.

    Raises:
        SkillFailed: "arguments"; the sentence says where they do not fit, and repeats nothing of them.

    """
    try:
        errors = sorted(
            _validator(schema).iter_errors(arguments), key=lambda error: list(map(str, error.path))
        )
    except _TooCostly:
        raise SkillFailed("arguments", "The arguments are too many to be looked at.") from None
    except (ValueError, OverflowError, RecursionError, TypeError):
        raise SkillFailed("arguments", "The arguments cannot be read.") from None
    if errors:
        told = "; ".join(_fault(error) for error in errors[:TOLD])
        raise SkillFailed("arguments", f"The arguments do not fit the parameters: {told}.")


def _schemas(schema: Any, deeper: int) -> Iterator[Mapping[str, Any]]:
    """The schema and all that are in it.

    Raises:
        InvalidInput: it is nested too deep.

    """
    if not isinstance(schema, Mapping):
        return  # true, false, or something that is refused as malformed
    if not deeper:
        raise InvalidInput(f"The parameters are nested deeper than {DEEPEST}.")
    yield schema
    for key, inner in schema.items():
        below: Any = ()
        if key in OF_NAMES and isinstance(inner, Mapping):
            below = inner.values()
        elif key in IN_LISTS and isinstance(inner, list):
            below = inner
        elif key in ALONE:
            below = (inner,)
        for one in below:
            yield from _schemas(one, deeper - 1)


def _usable(pattern: Any) -> bool:
    return isinstance(pattern, str) and _compiled(pattern) is not None


@cache
def _re2() -> Any:
    try:
        import re2
    except ImportError:  # a platform without it: patterns are not matched there
        return None
    return re2


def _compiled(pattern: str) -> Any:
    """The pattern; None where it is none, and `...` where nothing can match it in linear time."""
    engine = _re2()
    if engine is None:
        return ...
    options = engine.Options()
    options.log_errors = False  # it would write the pattern out
    try:
        return engine.compile(pattern, options)
    except engine.error:
        return None


def _refuse_malformed(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    plain = {key: value for key, value in schema.items() if key != KEYWORD}
    try:
        Draft202012Validator.check_schema(plain)
    except (SchemaError, RecursionError):
        raise InvalidInput("The parameters are no valid JSON schema (draft 2020-12).") from None


def _validator(schema: Mapping[str, Any]) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        found = _compiled(wanted)
        if isinstance(instance, str) and found not in {None, ...} and not found.search(instance):
            yield ValidationError("does not match")

    left = [STEPS]
    checks = {**Draft202012Validator.VALIDATORS, "pattern": pattern}
    return extend(
        Draft202012Validator, {word: _counted(word, check, left) for word, check in checks.items()}
    )(schema or NOTHING)


class _TooCostly(Exception):
    """Holding these arguments against their schema takes too many steps."""


def _counted(word: str, check: Any, left: list[int]) -> Any:
    def counted(validator: Any, wanted: Any, instance: Any, schema: Any) -> Any:
        left[0] -= 1 + (len(wanted) // 8 if isinstance(wanted, list | dict) else 0)
        if word == "uniqueItems" and isinstance(instance, list):  # objects are compared each with each
            left[0] -= len(instance) ** 2 // 20
        if left[0] < 0:
            raise _TooCostly
        return check(validator, wanted, instance, schema)

    return counted


def _fault(error: Any) -> str:
    """Where and what, in words of the schema."""
    place = (
        ".".join(map(str, error.path))
        if all(isinstance(p, int) or p.isidentifier() for p in error.path)
        else ""
    )
    place = place or "they"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return (
            f"{place} lack {', '.join(missing[:TOLD])}"
            if place == "they"
            else f"{place} lacks {', '.join(missing[:TOLD])}"
        )
    if error.validator in {"type", "enum", "minimum", "maximum", "minLength", "maxLength", "const"}:
        return f"{place} must fit {error.validator} {json.dumps(error.validator_value)[:200]}"
    return f"{place} must fit {error.validator}"

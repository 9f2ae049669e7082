"""Which arguments of a function leave with their values."""

from __future__ import annotations

from core.privacy.declared import declared, restored_arguments, unmarked

OUT = {"type": "string", "x-restore": True}
SCHEMA = {
    "type": "object",
    "properties": {
        "to": OUT,
        "text": {"type": "string"},
        "copies": {"type": "array", "items": OUT},
        "letter": {"type": "object", "properties": {"name": OUT, "note": {"type": "string"}}},
        "people": {"type": "array", "items": {"type": "object", "properties": {"mail": OUT, "age": {}}}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, OUT]},
        "whole": {"type": "object", "x-restore": True},
        "fields": {"type": "object", "additionalProperties": OUT},
        "maybe": {"type": "string", "x-restore": "yes"},
    },
}


def test_only_what_declares_it_is_restored_nested_properties_and_items_included():
    arguments = {
        "to": "t",
        "text": "t",
        "copies": ["t", "t"],
        "letter": {"name": "t", "note": "t"},
        "people": [{"mail": "t", "age": "t"}, "t"],
        "pair": ["t", "t"],
        "whole": {"a": ["t"]},
        "fields": {"b": "t"},
        "maybe": "t",
        "unknown": "t",
    }
    restored = restored_arguments(
        SCHEMA, arguments, lambda value: f"<{value}>" if isinstance(value, str) else "<all>"
    )
    assert restored == {
        "to": "<t>",
        "text": "t",
        "copies": ["<t>", "<t>"],
        "letter": {"name": "<t>", "note": "t"},
        "people": [{"mail": "<t>", "age": "t"}, "t"],
        "pair": ["t", "<t>"],
        "whole": "<all>",
        "fields": {"b": "<t>"},
        "maybe": "t",
        "unknown": "t",
    }


def test_nothing_is_declared_by_nothing():
    assert declared({}, {"a": "t"}) == []
    assert declared(None, {"a": "t"}) == []
    assert declared({"properties": {"a": True}}, {"a": "t"}) == []
    assert restored_arguments({"x-restore": False}, {"a": "t"}, lambda _: "x") == {"a": "t"}


def test_a_place_in_a_list_is_no_key_and_the_other_way_round():
    schema = {"properties": {"0": OUT}}
    assert declared(schema, ["t"]) == []
    assert restored_arguments(schema, {"0": "t", 0: "t"}, lambda _: "x") == {"0": "x", 0: "t"}


def test_a_model_is_not_shown_the_keyword():
    shown = unmarked(SCHEMA)
    assert shown["properties"]["to"] == {"type": "string"}
    assert shown["properties"]["copies"] == {"type": "array", "items": {"type": "string"}}
    assert unmarked({"properties": {"x-restore": {"type": "string"}}}) == {
        "properties": {"x-restore": {"type": "string"}}
    }

"""Policies of privacy: how documents are read, and what holds where several are named."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.privacy.kinds import KINDS
from core.privacy.policy import DENIED, Direction, Member, Operator, Policy, Preset, effective, read_policy

SECRET = "Rumpelstilz-4711"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["preset", "operators", "thresholds", "allow", "deny", "regions", "direction", "model", "identities"]
)
PRESETS = st.sampled_from(list(Preset))
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "preset": PRESETS,
        "operators": st.dictionaries(
            st.sampled_from(list(KINDS)), st.sampled_from(list(Operator)), max_size=3
        ),
        "deny": st.lists(st.sampled_from(["Ana", "Bo"]), max_size=2),
        "direction": st.sampled_from(list(Direction)),
    },
)


def policy(document=None, **flags):
    return effective(read_policy(document), **flags)


def test_nothing_named_is_off():
    assert not policy().on
    assert policy().kinds() == frozenset()
    assert not policy().alters


def test_a_document_is_stored_in_one_spelling():
    stored = read_policy(
        {
            "preset": "recommended",
            "operators": {"email": "tokenise", "Street_Address": "mask", "staff_id": "hash"},
            "regions": ["de", "US"],
            "deny": [" Falcon "],
            "model": None,
            "identities": [{"name": "Ana Sol", "email": None}],
        }
    )
    assert stored == {
        "preset": "recommended",
        "operators": {"EMAIL_ADDRESS": "tokenise", "STREET_ADDRESS": "mask", "STAFF_ID": "hash"},
        "regions": ["DE", "US"],
        "deny": ["Falcon"],
        "identities": [{"name": "Ana Sol"}],
    }
    assert read_policy(json.loads(json.dumps(stored))) == stored


def test_a_policy_that_is_on_asks_the_operators_model_unless_it_says_no():
    assert policy({"preset": "strict"}).asks_model
    assert policy(bot_flag=True).asks_model
    assert not policy({"preset": "strict", "model": False}).asks_model
    assert not policy({"model": True}).asks_model
    assert effective({"preset": "strict", "model": False}, {"model": True}).asks_model
    assert not effective({"preset": "strict"}, None, {"model": False}).asks_model


def test_an_organization_is_looked_for_only_where_it_is_named():
    assert "NRP" in policy({"preset": "strict"}).kinds()
    assert "ORGANIZATION" not in policy({"preset": "strict"}).kinds()
    assert "ORGANIZATION" in policy({"preset": "strict", "operators": {"organization": "hash"}}).kinds()


def test_the_recommended_preset_masks_what_does_harm_and_tells_the_rest():
    held = policy({"preset": "recommended"})
    kinds = ("CREDIT_CARD", "IBAN_CODE", "US_SSN", "EMAIL_ADDRESS", "PHONE_NUMBER")
    assert {held.operator(kind) for kind in kinds} == {Operator.MASK}
    assert held.operator("SECRET") is Operator.REDACT
    assert {held.operator(kind) for kind in ("IP_ADDRESS", "URL", "PERSON", "DATE_OF_BIRTH", "ORG")} == {
        Operator.ANNOTATE
    }


def test_a_kind_that_is_not_looked_for_by_default_is_once_it_is_named():
    assert "STREET_ADDRESS" not in policy({"preset": "strict"}).kinds()
    assert "STREET_ADDRESS" in policy({"preset": "strict", "operators": {"address": "mask"}}).kinds()
    opted = {"preset": "annotate", "operators": {"address": "mask"}}
    held = effective(read_policy(opted), None, {"preset": "strict"})
    assert held.operator("STREET_ADDRESS") is Operator.REPLACE
    assert "STREET_ADDRESS" in held.kinds()


def test_a_kind_that_is_kept_is_not_looked_for():
    assert "URL" not in policy({"preset": "strict", "operators": {"url": "keep"}}).kinds()


def test_operators_without_a_preset_are_all_there_is():
    held = policy({"operators": {"email": "mask"}})
    assert held.on
    assert held.kinds() == {"EMAIL_ADDRESS"}


def test_the_flag_alone_means_tokenise():
    for flags in ({"bot_flag": True}, {"conversation_flag": True}):
        held = policy(**flags)
        assert held.operator("EMAIL_ADDRESS") is Operator.TOKENISE
        assert held.operator("SECRET") is Operator.REDACT


def test_the_flag_takes_the_preset_that_a_document_names():
    assert policy({"preset": "annotate"}, bot_flag=True).operator("URL") is Operator.ANNOTATE
    assert policy({"preset": "off"}, bot_flag=True).operator("URL") is Operator.TOKENISE
    held = policy({"operators": {"email": "mask"}}, conversation_flag=True)
    assert held.operator("EMAIL_ADDRESS") is Operator.MASK
    assert held.operator("URL") is Operator.TOKENISE


def test_a_document_may_loosen_what_a_broader_one_holds_and_a_missing_flag_may_not():
    account = {"preset": "strict", "deny": ["Falcon"]}
    assert effective(account, None, None, bot_flag=False, conversation_flag=False).on
    assert not effective(account, {"preset": "off"}, None).on
    assert not effective(None, None, {"preset": "off"}, bot_flag=True).on
    assert effective(account, None, {"operators": {"URL": "keep"}}).operator("URL") is Operator.KEEP


def test_the_more_specific_wins_kind_by_kind_and_lists_add_up():
    held = effective(
        {
            "preset": "annotate",
            "operators": {"URL": "mask"},
            "deny": ["a"],
            "allow": ["X"],
            "regions": ["DE"],
        },
        {"operators": {"URL": "hash", "BIC": "mask"}, "deny": ["A", "b"], "thresholds": {"URL": 0.5}},
        {"regions": ["US"], "allow": ["y"], "direction": "inbound", "identities": [{"name": "Ana"}]},
    )
    assert (held.operator("URL"), held.operator("BIC")) == (Operator.HASH, Operator.MASK)
    assert {word.casefold() for word in held.deny} == {"a", "b"}
    assert held.allow == {"x", "y"}
    assert held.regions == ("US",)
    assert held.thresholds == {"URL": 0.5}
    assert held.identities == (Member(name="Ana"),)
    assert held.applies(Direction.INBOUND)
    assert not held.applies(Direction.OUTBOUND)


def test_a_more_specific_preset_ends_the_operators_of_broader_documents():
    account = {"preset": "tokenise", "operators": {"EMAIL_ADDRESS": "keep"}}
    assert effective(account, {"preset": "strict"}).operator("EMAIL_ADDRESS") is Operator.REPLACE


def test_words_to_deny_need_no_preset():
    held = policy({"deny": ["Falcon"]})
    assert held.on
    assert held.operator(DENIED) is Operator.REPLACE
    assert held.kinds() == frozenset()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "object"),
        ({SECRET: 1}, "knows"),
        ({"preset": SECRET}, "preset"),
        ({"preset": ["off"]}, "preset"),
        ({"operators": [SECRET]}, "operators"),
        ({"operators": {SECRET: "mask"}}, "operators"),
        ({"operators": {"URL": SECRET}}, "operators"),
        ({"operators": {"URL": "mask", "url": "mask"}}, "operators"),
        ({"operators": {f"A{n}": "mask" for n in range(201)}}, "operators"),
        ({"operators": {"A" * 32: "mask"}}, "operators"),
        ({"thresholds": {"URL": 2}}, "thresholds"),
        ({"thresholds": {"URL": float("nan")}}, "thresholds"),
        ({"thresholds": {"URL": True}}, "thresholds"),
        ({"allow": SECRET}, "allow"),
        ({"allow": [SECRET] * 1001}, "allow"),
        ({"allow": [SECRET * 20]}, "allow"),
        ({"deny": [" "]}, "deny"),
        ({"deny": [f"{SECRET}\0"]}, "deny"),
        ({"deny": [f"{SECRET}\ud800"]}, "deny"),
        ({"deny": [None]}, "deny"),
        ({"regions": ["DEU"]}, "regions"),
        ({"direction": "sideways"}, "direction"),
        ({"blockUntilAnnotated": 1}, "blockUntilAnnotated"),
        ({"model": "true"}, "model"),
        ({"identities": [{}]}, "identities"),
        ({"identities": [SECRET]}, "identities"),
        ({"identities": [{"name": SECRET, "phone": 4711}]}, "identities"),
        ({"identities": [{"nick": SECRET}]}, "identities"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_name_of_its_field(document, field):
    with pytest.raises(InvalidInput, match=field) as refused:
        read_policy(document)
    assert SECRET not in str(refused.value)


@given(JSON | st.dictionaries(FIELDS, JSON, max_size=4))
def test_junk_is_refused_or_read_for_good(document):
    try:
        stored = read_policy(document)
    except InvalidInput:
        return
    assert read_policy(json.loads(json.dumps(stored))) == stored
    assert isinstance(effective(stored), Policy)


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS, st.booleans(), st.booleans())
def test_every_kind_of_ours_has_its_operator_and_a_flag_switches_on(account, bot, conversation, one, other):
    held = effective(account, bot, conversation, bot_flag=one, conversation_flag=other)
    assert held.operators.keys() >= KINDS.keys()
    if other:
        assert held.default is not Operator.KEEP
    if held.alters:
        assert held.on


def test_a_version_is_the_same_in_every_process_and_for_every_order():
    document = {"preset": "strict", "allow": ["b", "a", "c"], "operators": {"URL": "mask", "BIC": "hash"}}
    program = (
        "import json,sys;from core.privacy.policy import *;"
        "print(effective(read_policy(json.loads(sys.argv[1]))).version)"
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", program, json.dumps(document)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    turned = document | {"operators": {"BIC": "hash", "URL": "mask"}, "allow": ["c", "a", "b"]}
    assert versions == {policy(document).version, policy(turned).version}
    assert policy(document | {"deny": ["x"]}).version not in versions
    assert len(versions) == 1

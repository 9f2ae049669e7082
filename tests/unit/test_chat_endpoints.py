"""Named model endpoints: what an operator may write, what is refused, and that no key is ever repeated."""

from __future__ import annotations

import json

import pytest

from core.chat.endpoints import UNNAMED, read_endpoints
from core.chat.offline import OfflineProvider
from core.chat.provider import ModelMisconfigured
from core.chat.providers import Providers, providers_of
from core.errors import InvalidInput
from core.settings import Settings, read_settings

SECRET = "sk-very-secret"
HOST = "http://model.lan/v1"


def entry(**fields):
    return json.dumps({"fast": {"base_url": HOST, **fields}})


def test_an_entry_says_all_there_is_to_say():
    words = entry(
        api_key_env="FAST_KEY",
        model="vendor/fast-2",
        provider="vendor",
        family="fast",
        options={"temperature": 0.2, "topP": 0.9},
        context_tokens=32_000,
        max_output_tokens=4_000,
        capabilities=["tools", "images"],
        price={"input": 0.1, "output": 0.4},
        fallback="offline",
    )
    fast = read_endpoints(words, {"FAST_KEY": f" {SECRET}\n"})["fast"]
    assert fast.api_key.get_secret_value() == SECRET
    assert fast.options == {"temperature": 0.2, "top_p": 0.9}
    assert fast.capabilities == {"tools", "images"}
    assert SECRET not in repr(fast) + str(fast.model_dump())
    assert HOST not in repr(fast)


def test_the_environments_setting_takes_its_keys_from_the_environment(monkeypatch):
    monkeypatch.setenv("FAST_KEY", SECRET)
    monkeypatch.setenv("CRONTALK_MODELS", entry(api_key_env="FAST_KEY"))
    settings = read_settings()
    assert settings.models["fast"].api_key.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_nothing_is_no_endpoint_and_an_entry_needs_an_address_alone():
    assert read_endpoints(" ", {}) == {}
    fast = read_endpoints(entry(), {})["fast"]
    assert (fast.capabilities, fast.price, fast.fallback, fast.api_key) == ({"tools"}, None, None, None)


WRONG = [
    ("{bad " + SECRET, "is not JSON"),
    ('["' + SECRET + '"]', "is not an object"),
    ('{"fast": "' + SECRET + '"}', "fast is not an object"),
    ('{"fast": {"base_url": "http://x"}, "fast": {}}', "names something twice"),
    ('{"offline": {"base_url": "http://x"}}', "offline is the built-in model"),
    ('{"a/seed=1": {"base_url": "http://x"}}', "no model string can hold"),
    ('{" ": {"base_url": "http://x"}}', "no model string can hold"),
    (json.dumps({f"m{n}": {"base_url": HOST} for n in range(300)}), "more than 200"),
    ("[" * 100_000, "is not JSON"),
    (json.dumps({"fast": {"base_url": f"http://u:{SECRET}@x/v1"}}), "fast: base_url"),
    (json.dumps({"fast": {"base_url": f"http://x/v1?key={SECRET}"}}), "fast: base_url"),
    (json.dumps({"fast": {"base_url": f"ftp://{SECRET}"}}), "fast: base_url"),
    (json.dumps({"fast": {"base_url": "http://x:99999/v1"}}), "fast: base_url"),
    (json.dumps({"fast": {"base_url": 7}}), "fast: base_url"),
    (entry(api_key=f"{SECRET} with blanks"), "fast: has an api_key that no header can carry"),
    (entry(api_key=7), "fast: api_key"),
    (entry(api_key=SECRET, api_key_env="A"), "fast: has api_key and api_key_env"),
    (json.dumps({"fast": {"api_key": SECRET}}), "fast: has a key and no base_url"),
    (entry(api_key_env="ABSENT"), "fast: the environment has no ABSENT"),
    (entry(api_key_env="BAD_KEY"), "fast: no header can carry what BAD_KEY holds"),
    (entry(api_key_env=f"$({SECRET})"), "fast: api_key_env"),
    (entry(**{SECRET: 1}), "fast: a field is not known"),
    (entry(fallbck="x"), "fast: fallbck is not known"),
    (entry(options={"temperature": 9}), "fast: options"),
    (entry(options={"a=b/c": SECRET}), "fast: options"),
    (entry(options={"a": f"{SECRET}/b=1"}), "fast: options"),
    (entry(options=[SECRET]), "fast: options"),
    (entry(context_tokens="many"), "fast: context_tokens"),
    (entry(context_tokens=1000, max_output_tokens=1000), "leave no room"),
    (entry(capabilities=[SECRET]), "fast: capabilities"),
    (entry(price={"input": -1, "output": 1}), "fast: price.input"),
    (entry(price={"input": SECRET, "output": 1}), "fast: price.input"),
    (entry(fallback="elsewhere"), "fast: its fallback is no entry"),
    (entry(fallback="fast"), "fast: its fallbacks go in a circle"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_be_used_is_refused_by_name_and_no_secret_is_repeated(words, said, monkeypatch):
    monkeypatch.setenv("BAD_KEY", f"{SECRET}\nb")
    monkeypatch.setenv("CRONTALK_MODELS", words)
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert "CRONTALK_MODELS" in str(caught.value)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_circle_of_several_fallbacks_is_found():
    circle = {"a": "b", "b": "c", "c": "a"}
    words = json.dumps({name: {"base_url": HOST, "fallback": to} for name, to in circle.items()})
    with pytest.raises(ValueError, match="circle"):
        read_endpoints(words, {})


def test_the_settings_of_other_json_repeat_nothing_either(monkeypatch):
    monkeypatch.setenv("CRONTALK_PRICES", "{bad " + SECRET)
    with pytest.raises(InvalidInput, match="CRONTALK_PRICES: is not JSON") as caught:
        read_settings()
    assert SECRET not in str(caught.value)


def test_an_entry_without_an_address_is_asked_for_at_the_default_endpoint(monkeypatch):
    monkeypatch.setenv("CRONTALK_MODELS", '{"gpt": {"price": {"input": 1, "output": 2}}}')
    with pytest.raises(InvalidInput, match="gpt has no base_url"):
        read_settings()
    monkeypatch.setenv("LLM_BASE_URL", HOST)
    providers = providers_of(read_settings())
    assert providers.provider_for("gpt")[0]._server is providers.provider_for("anything")[0]


def test_names_are_resolved_letter_by_letter_and_keep_their_own_options():
    fast = read_endpoints(entry(api_key=SECRET, options={"temperature": 0.2, "seed": 1}), {})
    providers = Providers("http://default.lan/v1", "sk-default", endpoints=fast)
    named, name, options = providers.provider_for("fast/temperature=1/unheard=of")
    assert (name, options) == ("fast", {"temperature": 1, "seed": 1, "unheard": "of"})
    assert named._server._base_url == HOST
    assert providers.provider_for("Fast")[0]._base_url == "http://default.lan/v1"
    assert isinstance(providers.provider_for(None)[0], OfflineProvider)


def test_the_default_key_goes_to_no_other_server_and_names_of_one_server_share_it():
    words = json.dumps({"a": {"base_url": HOST}, "b": {"base_url": HOST}, "c": {"base_url": HOST + "2"}})
    providers = Providers("http://default.lan/v1", SECRET, endpoints=read_endpoints(words, {}))
    a, b, c = (providers.provider_for(name)[0]._server for name in "abc")
    assert a is b is not c
    assert (a._api_key, c._api_key) == (None, None)
    assert providers.provider_for("d")[0]._api_key == SECRET


def test_without_a_default_endpoint_named_models_answer_and_others_do_not():
    providers = Providers(endpoints=read_endpoints(entry(), {}))
    assert providers.provider_for("fast")[1] == "fast"
    with pytest.raises(ModelMisconfigured, match="no model endpoint"):
        providers.provider_for("slow")


def test_prices_are_the_entrys_and_else_those_of_the_table():
    models = read_endpoints(entry(price={"input": 1, "output": 2}), {})
    prices = {"fast": {"input": 9, "output": 9}, "slow": {"input": 3, "output": 4}}
    settings = Settings(models=models, prices=prices)
    assert settings.price("fast").cost(1, 1) == 3
    assert settings.price("slow").cost(1, 1) == 7
    assert settings.price("offline").cost(1, 1) == 0
    assert settings.price("unknown") is None


@pytest.mark.parametrize(
    ("fields", "window"),
    [
        ({}, 8000),
        ({"context_tokens": 100_000}, 8000),
        ({"context_tokens": 4000}, 3000),
        ({"context_tokens": 4000, "max_output_tokens": 500}, 3500),
        ({"context_tokens": 16}, 12),
    ],
)
def test_a_models_context_bounds_what_it_is_shown_and_leaves_room_for_the_answer(fields, window):
    assert read_endpoints(entry(**fields), {})["fast"].window(8000) == window
    assert UNNAMED.window(8000) == 8000

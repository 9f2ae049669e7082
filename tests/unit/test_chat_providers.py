import pytest

from core.chat.offline import OfflineProvider
from core.chat.openai_compatible import OpenAICompatible
from core.chat.provider import ModelMisconfigured
from core.chat.providers import Providers
from core.errors import InvalidInput


def test_offline_answers_without_any_configuration():
    provider, name, options = Providers().provider_for(None)
    assert isinstance(provider, OfflineProvider)
    assert (name, options) == ("offline", {})
    assert Providers().provider_for("offline/latency=1")[2] == {"latency": 1}


def test_another_name_goes_to_the_endpoint_and_offline_stays():
    providers = Providers("http://127.0.0.1:1/v1", "sk-secret", "gpt-5-mini/temperature=0.2")
    provider, name, options = providers.provider_for(None)
    assert isinstance(provider, OpenAICompatible)
    assert (name, options) == ("gpt-5-mini", {"temperature": 0.2})
    assert providers.provider_for("gpt-4o")[0] is provider
    assert isinstance(providers.provider_for("offline")[0], OfflineProvider)
    providers.close()


def test_without_an_endpoint_another_name_is_a_misconfiguration():
    with pytest.raises(ModelMisconfigured, match="no model endpoint is configured") as caught:
        Providers().provider_for("gpt-5-mini")
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("url", "key"), [("http://user:sk-secret@host/v1", None), ("http://host/v1", "sk-secret\nX-Evil: 1")]
)
def test_an_endpoint_that_cannot_be_used_fails_the_call_and_keeps_its_secrets(url, key):
    with pytest.raises(ModelMisconfigured) as caught:
        Providers(url, key).provider_for("gpt-5-mini")
    assert "sk-secret" not in f"{caught.value!r} {caught.value}"


def test_a_malformed_model_string_is_the_callers_mistake():
    with pytest.raises(InvalidInput):
        Providers().provider_for("gpt/temperature=hot")


def test_the_key_shows_in_no_repr():
    providers = Providers("http://host/v1", "sk-secret")
    assert "sk-secret" not in repr(providers) + repr(providers.provider_for("gpt"))

from core.chat.history import TOKENS_PER_IMAGE, StoredMessage, estimate_input, to_chat_messages
from core.chat.images import for_model
from core.chat.openai_compatible import OpenAICompatible
from core.chat.provider import ChatMessage, Image, ModelRequest

PNG = Image("image/png", b"\x89PNG" * 500)
TIFF = Image("image/tiff", b"II*\0")
LOOK = ChatMessage("user", "What is this?", images=(PNG, TIFF))


def sent(*messages):
    arguments = OpenAICompatible("http://x/v1", None)._arguments(ModelRequest("m", {}, "", messages, None))
    return [message["content"] for message in arguments["messages"]]


def test_a_model_that_sees_is_sent_the_image_and_told_of_those_no_server_takes():
    (shown,) = for_model([LOOK], sees=True)
    assert shown.images == (PNG,)
    assert shown.text == "What is this?\n[image/tiff, 1 KiB: this model is not shown it]"
    ((words, picture),) = sent(shown)
    assert words == {"type": "text", "text": shown.text}
    assert picture["type"] == "image_url"
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_model_that_does_not_see_is_told_what_it_misses():
    (shown,) = for_model([LOOK], sees=False)
    assert shown.images == ()
    assert "[image/png, 2 KiB: this model is not shown it]" in shown.text
    assert sent(shown) == [shown.text]


def test_messages_without_images_stay_as_they_are():
    plain = ChatMessage("user", "Hello")
    assert for_model([plain], sees=False) == (plain,)
    assert sent(plain) == ["Hello"]


def test_an_image_alone_is_a_message_and_costs_what_it_is_taken_to_cost():
    stored = StoredMessage("user", " ", {}, images=(PNG,))
    (message,) = to_chat_messages([stored])
    assert message.images == (PNG,)
    assert estimate_input("", [message]) >= TOKENS_PER_IMAGE
    ((picture,),) = sent(message)
    assert picture["type"] == "image_url"


def test_only_users_show_images():
    (message,) = to_chat_messages([StoredMessage("bot", "Here.", {}, images=(PNG,))])
    assert message.images == ()


def test_what_an_image_holds_is_in_no_representation():
    assert "PNG" not in repr(LOOK).replace("image/png", "")

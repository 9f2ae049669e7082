"""The guarded client against real servers that mean no good."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import timedelta

import pytest

from core import resolver
from core.outbound import (
    Allowance,
    OutboundBroken,
    OutboundError,
    OutboundRefused,
    OutboundTimeout,
    OutboundUnreachable,
    client,
    request,
    wire,
)
from tests.hook_server import OK, HookServer, a_certificate, status

LOCAL = Allowance.parse("127.0.0.1")
HEAD = b"HTTP/1.1 200 OK\r\n"
CANARY = "CANARY-path"


@pytest.fixture
def server():
    with HookServer() as server:
        yield server


@pytest.fixture
def names(monkeypatch):
    """A resolver that answers from a script: a list for each look-up of a name, the last one for ever."""
    answers, asked = {}, []

    def addresses_of(host, port, seconds):
        asked.append(host)
        script = answers[host]
        return script.pop(0) if len(script) > 1 else script[0]

    monkeypatch.setattr(resolver, "addresses_of", addresses_of)
    addresses_of.answers, addresses_of.asked = answers, asked
    return addresses_of


def ask(url, *, within=5.0, allowance=LOCAL, body=b"{}", headers=None, limit=0, method="POST", **options):
    return request(
        method,
        url,
        body=body,
        headers=headers or {},
        within=timedelta(seconds=within),
        allowance=allowance,
        body_limit=limit,
        **options,
    )


def failing(error, code, *args, at_most=None, **parts):
    began = time.monotonic()
    with pytest.raises(error) as raised:
        ask(*args, **parts)
    assert type(raised.value) is error
    assert raised.value.code == code
    assert CANARY not in str(raised.value)
    if at_most is not None:
        assert time.monotonic() - began < at_most


def test_a_request_arrives_as_it_was_meant(server):
    headers = {"Content-Type": "application/json", "X-Mark": "1"}
    answer = ask(server.url("/in?a=1"), headers=headers, body=b'{"a":1}', limit=100)
    assert (answer.status, answer.body, answer.error_code) == (200, b"ok", None)
    (asked,) = server.asked
    assert asked.line == "POST /in?a=1 HTTP/1.1"
    assert asked.body == b'{"a":1}'
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "Crontalk",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/json",
        "x-mark": "1",
        "content-length": "7",
    }


def test_a_redirect_is_an_answer_and_nobody_follows_it(server):
    with HookServer() as inside:
        server.replies += [status(code, f"Location: {inside.url()}") for code in (301, 302, 303, 307, 308)]
        assert {ask(server.url()).error_code for _ in range(5)} == {"redirect"}
        assert inside.connections == 0


def test_no_proxy_of_the_environment_is_asked(server, monkeypatch):
    with HookServer() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert ask(server.url()).status == 200
        assert proxy.connections == 0


def test_cookies_are_neither_kept_nor_sent(server):
    server.replies.append(status(200, "Set-Cookie: a=b"))
    assert "set-cookie" not in ask(server.url()).headers
    ask(server.url())
    assert "cookie" not in server.asked[1].headers


@pytest.mark.parametrize("allowed", ["", "10.0.0.0/8", "127.0.0.1:1", "other.example"])
def test_nobody_connects_to_a_private_address(server, allowed):
    with pytest.raises(OutboundRefused):
        ask(server.url(), allowance=Allowance.parse(allowed))
    assert server.connections == 0


def test_a_name_that_resolves_to_a_private_address_is_refused(server, names):
    names.answers["hooks.example"] = [["127.0.0.1"]]
    failing(OutboundRefused, "address", "https://hooks.example/", allowance=Allowance())
    names.answers["mixed.example"] = [["8.8.8.8", "169.254.169.254"]]
    failing(OutboundRefused, "address", "https://mixed.example/", allowance=Allowance())
    assert server.connections == 0


def test_a_name_that_changes_its_mind_gains_nothing(server, names):
    """DNS rebinding: allowed at the first look, private at the second. There is no second look."""
    names.answers["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    answer = ask(f"http://rebind.example:{server.port}/")
    assert answer.status == 200
    assert names.asked == ["rebind.example"]
    assert server.asked[0].headers["host"] == f"rebind.example:{server.port}"


def test_an_address_that_does_not_answer_is_followed_by_the_next(server, names):
    allowance = Allowance.parse("127.0.0.0/8")
    names.answers["two.example"] = [["127.0.0.9", "127.0.0.1"]]
    assert ask(f"http://two.example:{server.port}/", allowance=allowance).status == 200


def test_names_and_ports_that_lead_nowhere(names):
    names.answers["gone.example"] = [[]]
    failing(OutboundUnreachable, "unknown_host", f"https://gone.example/{CANARY}")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    failing(OutboundUnreachable, "connect", f"http://127.0.0.1:{port}/{CANARY}")


def test_a_resolver_that_hangs_costs_no_more_than_the_deadline(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    failing(OutboundTimeout, "deadline", "https://hooks.example/", within=0.3, at_most=5)
    release.set()


@pytest.mark.parametrize(
    "reply",
    [
        lambda talk: talk.hang(),
        lambda talk: talk.drip(b"H", b""),
        lambda talk: talk.drip(HEAD, b"X-More: 1\r\n"),
        lambda talk: talk.drip(HEAD + b"X-Long: ", b"x"),
        lambda talk: talk.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "half a word", "headers without end", "one header without end", "continue without end"],
)
def test_an_answer_that_never_begins_ends_with_the_deadline(server, reply):
    server.replies.append(reply)
    failing(OutboundTimeout, "deadline", server.url(f"/{CANARY}"), within=0.6, at_most=5)


def test_silence_ends_before_the_deadline(server, monkeypatch):
    monkeypatch.setattr(wire, "IDLE", timedelta(seconds=0.3))
    server.replies.append(lambda talk: talk.hang())
    failing(OutboundTimeout, "idle", server.url(), within=20, at_most=10)


def test_a_receiver_that_does_not_read_ends_with_the_deadline():
    with HookServer(before_request=lambda talk: talk.hang()) as server:
        body = b"x" * client.MOST_SENT
        failing(OutboundTimeout, "deadline", server.url(), body=body, within=0.6, at_most=5)


def test_a_handshake_that_hangs_or_drips_ends_with_the_deadline():
    for reply in (lambda talk: talk.hang(), lambda talk: talk.drip(b"\x16\x03\x03", b"\x00")):
        with HookServer(before_request=reply) as server:
            began = time.monotonic()
            with pytest.raises(OutboundError) as raised:
                ask(server.url().replace("http:", "https:"), within=0.6)
            assert raised.value.code in {"deadline", "tls"}
            assert time.monotonic() - began < 5


def test_a_body_without_end_costs_nothing_where_nobody_reads_it(server):
    server.replies.append(lambda talk: talk.drip(HEAD + b"\r\n", b"x" * 65536, 0))
    began = time.monotonic()
    assert ask(server.url(), within=10).status == 200
    assert time.monotonic() - began < 5


def test_a_body_is_read_up_to_the_limit(server):
    server.replies += [
        lambda talk: talk.drip(HEAD + b"\r\n", b"x" * 65536, 0),
        HEAD + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 200,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n0\r\n\r\n",
        OK,
    ]
    failing(OutboundBroken, "answer_too_large", server.url(), limit=1000)
    failing(OutboundBroken, "answer_too_large", server.url(), limit=100)
    assert len(ask(server.url(), limit=100).body) == 64
    assert ask(server.url(), limit=2).body == b"ok"


def test_a_body_that_drips_ends_with_the_deadline(server):
    server.replies.append(lambda talk: talk.drip(HEAD + b"\r\n", b"x"))
    failing(OutboundTimeout, "deadline", server.url(), within=0.6, limit=10_000, at_most=5)


def test_a_packed_body_is_not_unpacked(server):
    server.replies.append(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx")
    failing(OutboundBroken, "encoded", server.url(), limit=1000)


def test_an_answer_that_is_mostly_about_itself_is_not_read_to_its_end(server):
    server.replies += [
        lambda talk: talk.drip(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 9999 + b"\r\nx\r\n", 0
        ),
        lambda talk: talk.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    ]
    failing(OutboundBroken, "answer_too_large", server.url(), limit=10_000, within=20, at_most=10)
    failing(OutboundBroken, "answer_too_large", server.url(), within=20, at_most=10)


def test_what_an_answer_says_it_is_too_long_for_is_not_read(server):
    server.replies.append(HEAD + b"Content-Length: 101\r\n\r\n")
    failing(OutboundBroken, "answer_too_large", server.url(), limit=100, within=20, at_most=5)
    server.replies.append(HEAD + b"Content-Length: 101\r\n\r\n")
    assert ask(server.url(), limit=100, method="HEAD", body=b"").status == 200


class Unwanted(Exception):
    """Nobody waits for the answer any more."""


def unwanted_at(count):
    """Wanted so many times, and then no more."""
    asked = []

    def wanted():
        asked.append(1)
        if len(asked) > count:
            raise Unwanted

    return wanted


def test_a_wait_for_a_connection_ends_once_nobody_wants_it():
    """A listener whose queue is full answers no further caller, as one behind a firewall would."""
    with socket.socket() as full, contextlib.ExitStack() as callers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        began = time.monotonic()
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        with pytest.raises(Unwanted):
            ask(url, within=60, wanted=unwanted_at(3))
        assert time.monotonic() - began < 8
        failing(OutboundTimeout, "deadline", url, within=0.5, at_most=5)


def test_a_wait_for_a_handshake_ends_once_nobody_wants_it():
    with HookServer(before_request=lambda talk: talk.hang()) as server:
        with pytest.raises(Unwanted):
            ask(server.url().replace("http:", "https:"), within=60, wanted=unwanted_at(4))
        assert server.connections == 1


def test_a_wait_for_a_receiver_that_does_not_read_ends_once_nobody_wants_it():
    with HookServer(before_request=lambda talk: talk.hang()) as server:
        began = time.monotonic()

        def wanted():
            if time.monotonic() - began > 1:
                raise Unwanted

        with pytest.raises(Unwanted):
            ask(server.url(), within=60, body=b"x" * client.MOST_SENT, wanted=wanted)
        assert time.monotonic() - began < 8


def test_a_wait_for_the_resolver_ends_once_nobody_wants_it(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    began = time.monotonic()
    with pytest.raises(Unwanted):
        ask("https://hooks.example/", within=60, wanted=unwanted_at(2))
    release.set()
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"", "protocol"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "protocol"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "protocol"),
        (b"\x00\xff" * 100 + b"\r\n\r\n", "protocol"),
    ],
)
def test_what_is_no_answer_is_told_apart(server, reply, code):
    server.replies.append(reply)
    with pytest.raises(OutboundBroken) as raised:
        ask(server.url(f"/{CANARY}"))
    assert raised.value.code in {code, "cut"}
    assert CANARY not in str(raised.value)


def test_an_answer_cut_off_in_its_body_is_broken(server):
    server.replies.append(HEAD + b"Content-Length: 100\r\n\r\nshort")
    with pytest.raises(OutboundBroken):
        ask(server.url(), limit=1000)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Evil: 1"}, {"X-A": "b\nX-Evil: 1"}, {"X-A\r\nX-Evil": "1"}, {"X-A": "b\x00"},
        {"X-A": "é"}, {"X A": "b"}, {"": "b"}, {"X-A": ""}, {"X-A": " b"}, {"Host": "evil.example"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"}, {"Accept-Encoding": "gzip"}, {"Connection": "keep-alive"},
    ],
)  # fmt: skip
def test_no_header_can_be_smuggled_in(server, headers):
    failing(OutboundRefused, "header", server.url(), headers=headers)
    assert server.connections == 0


def test_a_request_that_is_too_large_is_not_sent(server):
    failing(OutboundRefused, "too_large", server.url(), body=b"x" * (client.MOST_SENT + 1))
    assert server.connections == 0


@pytest.fixture
def trusted(tmp_path, monkeypatch):
    """A certificate for hooks.example whose authority we trust."""
    place = a_certificate(tmp_path, "hooks.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    client._tls.cache_clear()
    yield place
    client._tls.cache_clear()


def test_tls_is_verified_against_the_name_that_was_asked_for(trusted, names):
    names.answers |= {"hooks.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    with HookServer(trusted) as server:
        assert ask(f"https://hooks.example:{server.port}/").status == 200
        failing(OutboundUnreachable, "tls", f"https://other.example:{server.port}/{CANARY}")
        failing(OutboundUnreachable, "tls", f"https://127.0.0.1:{server.port}/{CANARY}")
        assert len(server.asked) == 1


def test_a_certificate_of_nobody_we_know_is_refused(tmp_path, names):
    client._tls.cache_clear()
    names.answers["hooks.example"] = [["127.0.0.1"]]
    with HookServer(a_certificate(tmp_path, "hooks.example")) as server:
        failing(OutboundUnreachable, "tls", f"https://hooks.example:{server.port}/")
        assert server.asked == []


def test_large_bodies_go_both_ways_under_tls(trusted, names):
    names.answers["hooks.example"] = [["127.0.0.1"]]
    sent, back = b"x" * client.MOST_SENT, b"y" * 1_000_000
    with HookServer(trusted) as server:
        server.replies.append(HEAD + b"Content-Length: 1000000\r\n\r\n" + back)
        answer = ask(f"https://hooks.example:{server.port}/", body=sent, limit=len(back), within=20)
        assert answer.body == back
        assert server.asked[0].body == sent


def test_a_plain_server_behind_an_https_url_is_told_nothing():
    with HookServer(before_request=status(400)) as server:
        failing(OutboundUnreachable, "tls", server.url(f"/{CANARY}").replace("http:", "https:"))
        assert server.asked == []

"""Requests of abilities over real sockets: where they do not go, and what they make of hostile answers."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import threading
import time
import traceback
from datetime import timedelta

import pytest
from sqlalchemy import text

from core import resolver
from core.errors import InvalidInput
from core.outbound import Allowance, client, places
from core.secrets import SecretValue
from core.skills.request_answers import MOST_SHOWN
from core.skills.requests import MOST_READ, call_request, checked_request
from core.skills.skill import SkillFailed
from tests.hook_server import HookServer, a_certificate, status
from tests.integration.test_subscriptions import as_process

PARAMETERS = {"properties": {"id": {}, "text": {}, "a": {}}}
CANARY = "CANARY-4f2a9"
SECRET = SecretValue("bearer", f"sk-{CANARY}")
HEAD = b"HTTP/1.1 200 OK\r\n"
JSON = HEAD + b"Content-Type: application/json\r\n"


@pytest.fixture
def server():
    with HookServer() as server:
        yield server


@pytest.fixture
def names(monkeypatch):
    """A resolver that answers from a script: a list for each look-up of a name, the last one for ever."""
    answers, real = {}, resolver.addresses_of

    def addresses_of(host, port, seconds, **options):
        script = answers.get(host)
        if script is None:
            return real(host, port, seconds, **options)
        return script.pop(0) if len(script) > 1 else script[0]

    monkeypatch.setattr(resolver, "addresses_of", addresses_of)
    return answers


def call(url, arguments=None, *, allow="127.0.0.1", within=5.0, secret=None, wanted=None, **parts):
    allowance = Allowance.parse(allow)
    document = checked_request({"type": "request", "url": url, **parts}, PARAMETERS, allowance)
    return call_request(
        allowance,
        document,
        arguments or {},
        secret,
        key="run.1",
        within=timedelta(seconds=within),
        wanted=wanted,
    )


def failing(code, *args, at_most=None, retryable=False, **parts):
    began = time.monotonic()
    with pytest.raises(SkillFailed) as raised:
        call(*args, **parts)
    assert (raised.value.code, raised.value.retryable) == (code, retryable)
    assert CANARY not in str(raised.value)
    assert "127.0.0.1" not in str(raised.value)
    assert at_most is None or time.monotonic() - began < at_most


def answered(server, reply, **parts):
    server.replies.append(reply)
    return call(server.url("/in"), **parts)


def with_body(body, head=JSON):
    return head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back(server):
    server.replies.append(with_body(b'{"found": [1, "\\u00fc"]}'))
    answer = call(
        server.url("/users/{id}?x={a}"),
        {"id": "a/b", "a": "&", "text": {"deep": [1]}},
        method="PUT",
        query={"q": "{text}"},
        headers={"X-Id": "{a}"},
        body={"text": "{text}", "id": "is {id}", "none": "{b}"} | {"none": 1},
        secret=SECRET,
    )
    assert answer == {"status": 200, "body": {"found": [1, "ü"]}}
    (asked,) = server.asked
    assert asked.line == "PUT /users/a%2Fb?x=%26&q=%7B%22deep%22%3A%5B1%5D%7D HTTP/1.1"
    assert json.loads(asked.body) == {"text": {"deep": [1]}, "id": "is a/b", "none": 1}
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "Crontalk",
        "accept-encoding": "identity",
        "connection": "close",
        "x-id": "&",
        "authorization": f"Bearer {SECRET.value}",
        "content-type": "application/json",
        "idempotency-key": "run.1",
        "content-length": str(len(asked.body)),
    }


def test_a_refusal_is_an_answer_and_a_fault_is_none(server):
    for code in (400, 401, 404, 409, 429, 304):
        assert answered(server, status(code)) == {"status": code, "body": ""}
    for code in (500, 503, 599):
        server.replies.append(status(code))
        failing(f"http_{code}", server.url(f"/{CANARY}"), retryable=True)


def test_what_the_server_says_of_the_secret_again_is_masked(server):
    body = json.dumps({"headers": {"Authorization": f"Bearer {SECRET.value}"}}).encode()
    told = answered(server, with_body(body), secret=SECRET)
    assert told["body"] == {"headers": {"Authorization": "Bearer [secret]"}}


# Where nobody is to be reached, by every spelling; {port} is the port on which the canary listens.
HOSTS = [
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "0", "0.0.0.0", "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001", "2130706433", "017700000001", "0177.0.0.1", "0177.0.0.01", "127.0.0.1.", "127.0.0.0x1",
    "4294967295", "3232235777", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "168.63.129.16", "192.0.0.192",
    "100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[fd00::1]", "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[::1%25lo]", "[fec0::1]", "[ff02::1]", "[100::1]",
    "[5f00::1]",
    "[2606:4700::5efe:7f00:1]", "[::1", "::1", "[127.0.0.1]", "[v1.fe80::a+en1]",
    "localhost", "LOCALHOST", "LocalHost.", "localhost.", "ip6-localhost", "metadata.google.internal",
    "metadata",
    "instance-data.ec2.internal", "mixed.example", "zone.example", "mapped.example", "nat64.example",
    "six.example", "zero.example", "nonsense.example",
    "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "ⓛocalhost", "１２７.0.0.1", "loc\u00adalhost",
    "localhost\u200b",
    "good.example@127.0.0.1", "127.0.0.1@good.example", "good.example:443@127.0.0.1", "@127.0.0.1",
    "good.example%40127.0.0.1", "127.0.0.1%23.good.example", "127.0.0.1\\.good.example",
    "good.example\\@127.0.0.1",
    "127.0.0.1\t", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1\r\n", "good.example\r\nHost: 127.0.0.1",
    "127.0.0.1\x00",
    "127.0.0.1%00.good.example", "127.0.0.1#.good.example", "127.0.0.1?.good.example", "{a}",
    "{a}.good.example",
    "good.example:{a}", "-", ".", "..", "", "a..b", "127.0.0.1:80:{port}", "%31%32%37.0.0.1", "[[::1]]",
]  # fmt: skip
SCHEMES = [
    "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:{port}/_GET",
    "dict://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/", "ldap://127.0.0.1:{port}/", "redis://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "data:text/plain,x", "jar:https://127.0.0.1:{port}!/", "https:127.0.0.1:{port}/",
    "https:/127.0.0.1:{port}/",
    "//127.0.0.1:{port}/", "127.0.0.1:{port}/", "https:\\\\127.0.0.1:{port}/", "http://127.0.0.1:{port}/",
    "http://localhost:{port}/", "https://127.0.0.1:22/", "https://good.example:6379/",
    "https://good.example:25/",
    " https://127.0.0.1:{port}/", "https://127.0.0.1:{port}/\r\nX: y", "https\n://127.0.0.1:{port}/",
    "{a}://127.0.0.1:{port}/", "https://127.0.0.1:{port}/#x",
]  # fmt: skip
PLACES = [f"https://{host}:{{port}}/in" for host in HOSTS] + SCHEMES
INWARD = {
    "metadata.google.internal": ["169.254.169.254"],
    "metadata": ["169.254.169.254"],
    "instance-data.ec2.internal": ["fd00:ec2::254"],
    "mixed.example": ["8.8.8.8", "127.0.0.1"],
    "zone.example": ["fe80::1%lo"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "six.example": ["::1"],
    "zero.example": ["0.0.0.0"],
    "nonsense.example": ["127.0.0.1 "],
}


class Listening:
    """Sockets on loopback that count who comes, on one port of every family there is."""

    def __init__(self):
        self._four = socket.create_server(("", 0))
        self.port = self._four.getsockname()[1]
        self._sockets = [self._four]
        with contextlib.suppress(OSError):  # a machine without IPv6
            self._sockets.append(socket.create_server(("::", self.port), family=socket.AF_INET6))
        for sock in self._sockets:
            sock.setblocking(False)

    def heard(self):
        heard = 0
        for sock in self._sockets:
            try:
                sock.accept()[0].close()
                heard += 1
            except BlockingIOError:
                pass
        return heard

    def close(self):
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def canary(monkeypatch, names):
    """What hears of every connection to this machine, on a port to which https may go."""
    listening = Listening()
    monkeypatch.setattr(places, "PORTS", places.PORTS | {listening.port})
    names |= {host: [addresses] for host, addresses in INWARD.items()}
    yield listening
    listening.close()


@pytest.mark.parametrize("url", PLACES, ids=ascii)
def test_no_address_leads_inside(canary, url):
    url = url.replace("{port}", str(canary.port))
    try:
        document = checked_request({"type": "request", "url": url}, PARAMETERS, Allowance())
    except InvalidInput as refused:
        assert "127.0.0.1" not in str(refused)  # noqa: PT017 (it may also be refused when it is sent)
    else:
        with pytest.raises(SkillFailed) as raised:
            call_request(
                Allowance(), document, {"a": "127.0.0.1"}, SECRET, key="k", within=timedelta(seconds=5)
            )
        assert raised.value.code in {"refused", "connect"}
        assert "127" not in str(raised.value)
    assert canary.heard() == 0


def test_the_canary_hears(canary):
    socket.create_connection(("127.0.0.1", canary.port)).close()
    assert canary.heard() == 1
    allowed = f"127.0.0.1:{canary.port}"
    with pytest.raises(SkillFailed):
        call(f"https://127.0.0.1:{canary.port}/", allow=allowed, within=0.3)
    assert canary.heard() == 1


def test_what_a_document_was_saved_as_is_judged_again_when_it_is_sent(canary):
    """An operator who allowed a place once has changed his mind since."""
    document = {"type": "request", "method": "GET", "url": f"http://127.0.0.1:{canary.port}/"}
    with pytest.raises(SkillFailed) as raised:
        call_request(Allowance(), document, {}, None, key="k", within=timedelta(seconds=5))
    assert raised.value.code == "refused"
    assert canary.heard() == 0


def test_a_name_that_turns_inward_between_two_looks_gains_nothing(server, names, canary):
    """Rebinding: each hop looks once, judges what it found, and goes there and nowhere else."""
    names["rebind.example"] = [["127.0.0.1"], ["127.0.0.9"]]
    server.replies.append(status(302, "Location: /next"))
    allow = f"127.0.0.1:{server.port}"
    failing("refused", f"http://rebind.example:{server.port}/", allow=allow)
    assert [asked.line for asked in server.asked] == ["GET / HTTP/1.1"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{canary}/", "http://localhost:{canary}/", "http://[::1]:{canary}/",
        "//127.0.0.1:{canary}/",
        "https://127.0.0.1:{port}/", "http://127.0.0.2:{port}/", "http://127.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/", "http://ada@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@evil.example/",
        "//evil.example/", "/\\evil.example/ü", "http://127.0.0.1:{port}.evil.example/", "http://[::1", "",
        "http://127.0.0.1:{port}/" + "a" * 3000, "/a b", "http://127.0.0.1:99999/",
    ],
)  # fmt: skip
def test_nobody_follows_a_redirect_elsewhere(server, canary, location):
    place = location.replace("{canary}", str(canary.port)).replace("{port}", str(server.port))
    server.replies.append(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place.encode() + b"\r\n\r\n"
    )
    with pytest.raises(SkillFailed) as raised:
        call(server.url("/in"), secret=SECRET)
    assert raised.value.code in {"redirect", "broken"}
    assert canary.heard() == 0
    assert len(server.asked) == 1


def test_a_redirect_within_the_place_is_followed_three_times(server):
    hops = ["/second?a=1", f"http://127.0.0.1:{server.port}/third", "fourth#part"]
    server.replies += [
        status(code, f"Location: {hop}") for code, hop in zip((301, 302, 308), hops, strict=True)
    ]
    assert call(server.url("/in"), secret=SECRET) == {"status": 200, "body": "ok"}
    assert [asked.line.split()[1] for asked in server.asked] == ["/in", "/second?a=1", "/third", "/fourth"]
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {SECRET.value}"}
    assert {asked.headers["idempotency-key"] for asked in server.asked} == {"run.1"}
    server.replies += [status(302, "Location: /in")] * 9
    failing("redirect", server.url(f"/{CANARY}"))
    assert len(server.asked) == 8


def test_a_write_is_repeated_elsewhere_only_as_it_was(server):
    server.replies.append(status(307, "Location: /other"))
    assert call(server.url("/in"), method="POST", body={"a": 1})["status"] == 200
    assert [(asked.line.split()[0], asked.body) for asked in server.asked] == [("POST", b'{"a":1}')] * 2
    for code in (301, 302, 303, 300, 305, 399):
        server.replies.append(status(code, "Location: /other"))
        failing("redirect", server.url(), method="POST")
    assert len(server.asked) == 8


def test_a_name_nobody_knows_and_a_port_nobody_listens_on(names):
    names["gone.example"] = [[]]
    failing("connect", f"https://gone.example/{CANARY}", retryable=True)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    failing("connect", f"http://127.0.0.1:{port}/{CANARY}", retryable=True)


def test_a_certificate_that_is_not_the_names_is_refused(tmp_path, names, monkeypatch):
    client._tls.cache_clear()
    names["hooks.example"] = [["127.0.0.1"]]
    with HookServer(a_certificate(tmp_path, "hooks.example")) as server:
        failing("tls", f"https://hooks.example:{server.port}/{CANARY}", secret=SECRET)
        assert server.asked == []


class Flood:
    """An answer that never ends, and how much of it anybody took."""

    def __init__(self, head, piece, most=100 * 1024 * 1024):
        self.head, self.piece, self.most = head, piece, most
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, talk):
        try:
            talk.sock.sendall(self.head)
            while self.sent < self.most and not talk.stopping.is_set():
                talk.sock.sendall(self.piece)
                self.sent += len(self.piece)
        finally:
            self.over.set()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (JSON + b"\r\n", b"x" * 65536),
        (JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1;a=" + b"x" * 60 + b"\r\nx\r\n"),
        (JSON + b"Content-Length: 104857600\r\n\r\n", b"x" * 65536),
        (HEAD + b"Content-Type: application/octet-stream\r\n\r\n", b"\x00" * 65536),
    ],
    ids=["until closed", "chunked", "chunks of a byte", "a hundred megabytes", "binary"],
)
def test_an_answer_without_end_is_neither_read_nor_held(server, head, piece):
    flood = Flood(head, piece)
    server.replies.append(flood)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failing("too_large", server.url(f"/{CANARY}"), within=60)
    assert flood.over.wait(10)
    assert flood.sent < 24 * MOST_READ  # what was read, and what the sockets held
    assert b"x" not in piece or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_an_answer_that_is_long_is_cut_and_marked(server):
    told = answered(server, with_body(b"x" * MOST_READ, HEAD))
    assert told == {"status": 200, "body": "x" * MOST_SHOWN, "truncated": True}


NO_ANSWERS = {
    "a bomb": (with_body(gzip.compress(b"0" * 10_000_000), JSON + b"Content-Encoding: gzip\r\n"), "encoded"),
    "other packing": (with_body(b"x", JSON + b"Content-Encoding: br, zstd\r\n"), "encoded"),
    "packed in transfer": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "broken"),
    "too short": (HEAD + b"Content-Length: 100\r\n\r\nshort", "broken"),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n", "broken"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "broken"),
    "a length without end": (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "broken"),
    "no chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "broken"),
    "a cut chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "broken"),
    "a large header": (HEAD + b"X: " + b"x" * 500_000 + b"\r\n\r\n", "broken"),
    "many headers": (HEAD + b"X: x\r\n" * 100_000 + b"\r\n", "broken"),
    "nothing": (b"", "broken"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", "broken"),
    "a strange status": (b"HTTP/1.1 99999 Strange\r\n\r\n", "broken"),
    "zeros": (b"\x00" * 1000, "broken"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_told_apart(server, name):
    reply, code = NO_ANSWERS[name]
    server.replies.append(reply)
    failing(code, server.url(f"/{CANARY}"), retryable=code == "broken", at_most=5)


def test_what_follows_the_end_of_an_answer_is_nobodys(server):
    told = answered(server, JSON + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nmore")
    assert told == {"status": 200, "body": {}}


@pytest.mark.parametrize("head", [HEAD + b"\r\n", HEAD, b"H", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_answer_that_drips_ends_with_the_deadline(server, head):
    server.replies.append(lambda talk: talk.drip(head, b"1"))
    failing("timeout", server.url(f"/{CANARY}"), within=0.7, at_most=5, retryable=True)


def test_a_templates_own_timeout_is_shorter(server):
    server.replies.append(lambda talk: talk.drip(HEAD + b"\r\n", b"1"))
    failing("timeout", server.url(), within=60, timeout=300, at_most=5, retryable=True)


class Unwanted(Exception):
    """Nobody waits for the answer any more."""


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"], ids=["silence", "a body that drips"])
def test_a_request_nobody_wants_any_more_is_closed_within_a_moment(server, first):
    closed, cancelled = threading.Event(), threading.Event()

    def reply(talk):
        talk.sock.sendall(first)
        cancelled.set()
        talk.sock.settimeout(20)
        with contextlib.suppress(ConnectionError):
            assert talk.sock.recv(1) == b""
        closed.set()

    def wanted():
        if cancelled.is_set():
            raise Unwanted

    server.replies.append(reply)
    began = time.monotonic()
    with pytest.raises(Unwanted):
        call(server.url(), within=30, wanted=wanted)
    assert closed.wait(10)
    assert time.monotonic() - began < 5


def test_what_is_unwanted_already_is_not_sent(server):
    def wanted():
        raise Unwanted

    with pytest.raises(Unwanted):
        call(server.url(), wanted=wanted)
    assert server.connections == 0


HOSTILE_JSON = {
    "nul": b'{"a\\u0000": "x\\u0000y"}',
    "half of a pair": b'["\\ud800", "\\udfff\\ud83d", {"\\ud800": 1}]',
    "a whole pair": b'["\\ud83d\\ude00"]',
    "raw nul": b'{"a": "x\x00y"}',
    "not UTF-8": b'{"a": "\xff\xfe\xc3"}',
    "surrogates in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a huge number": b'{"a": ' + b"9" * 100_000 + b"}",
    "a large number": b'{"a": ' + b"9" * 290 + b"}",
    "a tiny number": b'{"a": 1e-99999}',
    "an endless number": b'{"a": [1e99999, -1e400, NaN, Infinity]}',
    "deep": b"[" * 400_000,
    "deep and whole": b"[" * 5000 + b"]" * 5000,
    "rather deep": b'{"a":' * 200 + b"1" + b"}" * 200,
    "many keys": json.dumps({str(n): n for n in range(20_000)}).encode(),
    "one key twice": b'{"a": 1, "a": 2}',
    "none": b"{'a': 1}",
    "cut": b'{"a": "',
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_whatever_comes_back_can_be_stored(context, server, name):
    told = answered(server, with_body(HOSTILE_JSON[name]))
    assert told["status"] == 200
    with context.transaction() as session:
        stored = session.execute(
            text("SELECT CAST(:told AS jsonb)"), {"told": json.dumps(told, allow_nan=False)}
        ).scalar_one()
    assert stored == told


def test_an_answer_that_must_be_json_and_is_none_fails(server):
    server.replies.append(with_body(b"<html>" + CANARY.encode()))
    failing("not_json", server.url(), answer="json")


def test_no_word_of_a_request_is_logged(server, capfd):
    server.replies += [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=" + CANARY.encode() + b"\r\n\r\n" + CANARY.encode(),
        status(503, f"X-Why: {CANARY}"),
        status(302, f"Location: https://{CANARY}.example/"),
        with_body(CANARY.encode()),
    ]
    parts = {"headers": {"X-A": "{a}"}, "secret": SECRET, "method": "POST", "body": {"a": "{a}"}}
    with as_process("debug"):
        assert call(server.url("/{a}"), {"a": CANARY}, **parts)["body"] == CANARY
        for code in ("http_503", "redirect", "not_json"):
            with pytest.raises(SkillFailed) as raised:
                call(server.url("/{a}?{a}"), {"a": CANARY}, answer="json", **parts)
            assert raised.value.code == code
            assert CANARY not in "".join(traceback.format_exception(raised.value))
        printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err

"""Attachments through the dialect: the four forms, one-time links, what is refused, and what is left."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api.app import make_app
from api.limits import UPLOAD_JSON
from core.blobs import sweep_blobs
from core.sealed_chunks import CHUNK
from core.talking import send
from tests.api import a_client, a_secret
from tests.factories import a_conversation, an_account, execute, one, rows
from tests.hook_server import HookServer, status

API = "/api/v1"
WORD = b"geheim4711"


@pytest.fixture(autouse=True)
def nothing_left(context):
    """What the tests before have left is cleared away, so that a sweep finds this test's own."""
    execute(context, "UPDATE blob_leftovers SET due_at = now(), until = now()")
    sweep_blobs(context)
    assert stored_files(context) == []


@pytest.fixture
def place(context, account):
    """The upload address of a conversation."""
    return f"{API}/conversation/{a_conversation(context, account).id}/attachment"


def announced(client, place, content, **more):
    file = {"type": "text/plain", "size": len(content), "name": "notes.txt", **more}
    answer = client.post(f"{place}/upload", json={"file": file})
    assert answer.status_code == 200, answer.text
    return answer.json()


def link_of(answer):
    return answer["uploadRequest"]["url"].removeprefix("http://127.0.0.1:8080")


def fetched(client, place, attachment_id):
    answer = client.get(f"{place}/{attachment_id}/download")
    assert answer.status_code == 200, answer.text
    return answer.content


def stored_files(context):
    return sorted(path for path in Path(context.settings.blobs).rglob("*") if path.is_file())


def test_an_announced_file_is_sent_to_its_link_without_a_token_and_comes_back(client, nobody, place, context):
    content = WORD + os.urandom(3 * CHUNK)
    answer = announced(client, place, content)
    assert answer["name"] == "notes.txt"
    request = answer["uploadRequest"]
    assert (request["method"], request["headers"]) == ("PUT", {"content-type": "application/octet-stream"})
    assert client.get(f"{place}/list").json()["items"] == []
    assert client.get(f"{place}/{answer['id']}/download").status_code == 404
    sent = nobody.request(request["method"], request["url"], content=content, headers=request["headers"])
    assert sent.status_code == 200, sent.text
    (item,) = client.get(f"{place}/list").json()["items"]
    assert (item["id"], item["name"], item["size"], item["type"]) == (
        answer["id"],
        "notes.txt",
        len(content),
        "text/plain",
    )
    assert fetched(client, place, answer["id"]) == content
    (row,) = rows(context, "SELECT state, size, sha256 FROM blobs")
    assert (row["state"], row["size"]) == ("stored", len(content))
    assert bytes(row["sha256"]) == hashlib.sha256(content).digest()


def test_no_byte_of_a_file_lies_in_the_clear(client, nobody, place, context):
    answer = announced(client, place, WORD * 200)
    nobody.put(link_of(answer), content=WORD * 200)
    files = stored_files(context)
    assert files
    assert all(WORD not in path.read_bytes() for path in files)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_link_works_once(client, nobody, place, method):
    answer = announced(client, place, b"abc")
    assert nobody.request(method, link_of(answer), content=b"abc").status_code == 200
    again = nobody.request(method, link_of(answer), content=b"abd")
    assert (again.status_code, again.json()["code"]) == (404, "NOT_FOUND")
    assert fetched(client, place, answer["id"]) == b"abc"


def test_of_many_uploads_at_once_one_goes_through(client, nobody, place):
    answer = announced(client, place, b"x" * 100)
    with ThreadPoolExecutor(4) as pool:
        codes = list(
            pool.map(
                lambda n: nobody.put(link_of(answer), content=str(n).encode() * 100).status_code, range(4)
            )
        )
    assert sorted(codes) == [200, 404, 404, 404]
    assert len(set(fetched(client, place, answer["id"]))) == 1


def test_a_link_that_is_too_old_unknown_or_of_a_closed_account_opens_nothing(client, nobody, place, context):
    answer = announced(client, place, b"abc")
    execute(context, "UPDATE accounts SET closed_at = now()")
    assert nobody.put(link_of(answer), content=b"abc").status_code == 404
    execute(context, "UPDATE accounts SET closed_at = NULL")
    execute(context, "UPDATE blob_tickets SET expires_at = now() - interval '1 second'")
    assert nobody.put(link_of(answer), content=b"abc").status_code == 404
    for token in ("x", "%00", "%ff", "a" * 5000, "%F0%9F%98%80"):
        assert nobody.put(f"/upload/{token}", content=b"abc").status_code == 404
        assert nobody.get(f"/download/{token}").status_code == 404


def test_another_size_than_was_announced_is_refused_and_the_link_may_be_used_again(
    client, nobody, place, context
):
    answer = announced(client, place, b"abc")
    longer = nobody.put(link_of(answer), content=b"abcd")
    assert (longer.status_code, longer.json()["code"]) == (413, "CONTENT_TOO_LARGE")
    assert nobody.put(link_of(answer), content=b"ab").status_code == 400
    unframed = nobody.put(link_of(answer), content=iter([b"a" * 70_000]))
    assert unframed.status_code == 413
    assert nobody.put(link_of(answer), content=iter([b"a"])).status_code == 400
    assert stored_files(context) == []
    assert nobody.put(link_of(answer), content=iter([b"a", b"bc"])).status_code == 200
    assert fetched(client, place, answer["id"]) == b"abc"


def test_only_the_hash_of_a_links_token_is_kept_and_no_log_tells_it(client, nobody, place, context):
    with capture_logs() as lines:
        answer = announced(client, place, b"abc")
        token = link_of(answer).rpartition("/")[2]
        nobody.put(link_of(answer), content=b"abcd")
        (row,) = rows(context, "SELECT token_sha256 FROM blob_tickets")
        nobody.put(link_of(answer), content=b"abc")
    assert bytes(row["token_sha256"]) == hashlib.sha256(token.encode()).digest()
    assert token not in str(lines)
    assert len(token) >= 43


def test_a_data_url_is_a_file(client, place):
    content = bytes(range(256)) * 20
    for url, expected in (
        ("data:image/png;base64," + base64.b64encode(content).decode(), content),
        ("data:,hello%20there", b"hello there"),
        ("DATA:text/plain;charset=utf-8;BASE64,aGk=", b"hi"),
        ("data:text/plain,", b""),
    ):
        answer = client.post(f"{place}/upload", json={"file": url})
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"id"}
        assert fetched(client, place, answer.json()["id"]) == expected


@pytest.mark.parametrize(
    "file",
    [
        None,
        5,
        [],
        {},
        "",
        "geheim",
        "file:///etc/passwd",
        "ftp://x/y",
        "data:",
        "data:text/plain;base64,a",
        "data:text/plain;base64,%zz",
        "data:text/plain,é",
        "data:no type,x",
        "http://",
        "https://u:p@x.example/",
        {"type": "text/plain"},
        {"size": 3},
        {"type": 5, "size": 3},
        {"type": "text", "size": 3},
        {"type": "text/plain", "size": -1},
        {"type": "text/plain", "size": "3"},
        {"type": "text/plain", "size": True},
        {"type": "text/plain", "size": 1.5},
        {"type": "text/plain", "size": None},
        {"type": "text/plain", "size": 3, "name": 5},
        {"type": "a/b", "size": 3, "name": {"x": "geheim"}},
    ],
)
def test_what_is_no_file_is_refused_with_a_sentence_and_nothing_is_stored(client, place, context, file):
    answer = client.post(f"{place}/upload", json={"file": file})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), answer.text
    assert "geheim" not in answer.text
    assert one(context, "SELECT count(*) FROM attachments") == 0


def test_a_url_is_fetched_by_the_guarded_client(client, place, context):
    with HookServer() as server:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv; charset=x\r\nContent-Length: 5\r\n\r\n"
        server.replies += [head + b"a,b,c", status(404), status(302, "Location: http://127.0.0.1:1/")]
        url = server.url("/some/dir/r%C3%A9sum%C3%A9.csv?token=1")
        answer = client.post(f"{place}/upload", json={"file": url})
        assert answer.json().keys() == {"id", "name"}, answer.text
        assert answer.json()["name"] == "résumé.csv"
        assert fetched(client, place, answer.json()["id"]) == b"a,b,c"
        for code in ("http_404", "redirect"):
            refused = client.post(f"{place}/upload", json={"file": url})
            assert refused.status_code == 400
            assert code in refused.json()["message"]
    for inward in ("http://10.0.0.1/x", "https://169.254.169.254/latest", "https://localhost./x"):
        assert client.post(f"{place}/upload", json={"file": inward}).status_code == 400
    assert one(context, "SELECT count(*) FROM attachments") == 1


def test_a_url_that_answers_too_much_is_refused(client, place, context):
    def endless(conversation):
        conversation.sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(100):
            conversation.sock.sendall(b"x" * 65_536)

    with HookServer() as server:
        server.replies.append(endless)
        answer = client.post(f"{place}/upload", json={"file": server.url("/big")})
    assert (answer.status_code, answer.json()["code"]) == (413, "CONTENT_TOO_LARGE")
    assert one(context, "SELECT count(*) FROM blobs") == 0


def test_a_form_is_a_file(client, place):
    content = os.urandom(2 * CHUNK)
    answer = client.post(
        f"{place}/upload",
        data={"comment": "x"},
        files={"file": ("../ünder.bin", content, "application/x-thing")},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "ünder.bin"
    assert fetched(client, place, answer.json()["id"]) == content


FORM = "multipart/form-data; boundary=x"
FIELD = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"
FILE = b'--x\r\nContent-Disposition: form-data; filename="a"\r\n'
END = b"\r\n--x--\r\n"
NO_FORMS = {
    "no boundary": ("multipart/form-data", b"--x\r\n"),
    "an endless boundary": ("multipart/form-data; boundary=" + "b" * 300, b"--x\r\n"),
    "nonsense": (FORM, b"nonsense"),
    "no file": (FORM, FIELD + b"b" + END),
    "broken off": (FORM, FILE + b"\r\nbroken off"),
    "a type that is none": (FORM, FILE + b"Content-Type: nonsense\r\n\r\nb" + END),
    "two files": (FORM, FILE + b"\r\nb\r\n" + FILE + b"\r\nb" + END),
    "a long field": (FORM, FIELD + b"y" * 70_000),
    "many parts": (FORM, b"--x\r\na: b\r\n\r\n\r\n" * 30),
    "many headers": (FORM, b"--x\r\n" + b"a: b\r\n" * 500),
    "a long header": (FORM, b"--x\r\na: " + b"b" * 100_000),
}


@pytest.mark.parametrize(("kind", "body"), NO_FORMS.values(), ids=NO_FORMS.keys())
def test_a_form_that_is_none_is_refused_and_leaves_nothing(client, place, context, kind, body):
    answer = client.post(f"{place}/upload", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), answer.text
    assert one(context, "SELECT count(*) FROM attachments") == 0
    sweep_blobs(context)
    assert stored_files(context) == []


def test_raw_bytes_are_a_file(client, place):
    answer = client.post(f"{place}/upload", content=b"\x00\xff", headers={"Content-Type": "image/png"})
    assert answer.json().keys() == {"id"}
    assert fetched(client, place, answer.json()["id"]) == b"\x00\xff"
    wrong = client.post(f"{place}/upload", content=b"x", headers={"Content-Type": "nonsense"})
    assert wrong.status_code == 400


def test_the_npm_sdks_own_address_works_too(client, place):
    conversation = place.split("/")[-2]
    for prefix in ("/api/v1", "/v1"):
        answer = client.post(f"{prefix}/Attachment/{conversation}/upload", json={"file": "data:,x"})
        assert fetched(client, place, answer.json()["id"]) == b"x"


def test_a_download_is_saved_and_never_shown(client, place):
    page = "data:text/html,%3Cscript%3Ealert(1)%3C/script%3E"
    attachment = client.post(f"{place}/upload", json={"file": page}).json()["id"]
    answer = client.get(f"{place}/{attachment}/download")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    named = client.post(f"{place}/upload", files={"file": ('ü"\r\nX: y.txt', b"x", "text/plain")}).json()[
        "id"
    ]
    header = client.get(f"{place}/{named}/download").headers["content-disposition"]
    assert header.startswith("attachment; filename=")
    assert "\n" not in header


@pytest.fixture
def small(context):
    return replace(context, settings=context.settings.model_copy(update={"max_file": 100_000}))


def test_a_file_has_a_largest_size_in_every_form(small, account, place):
    client, big = a_client(small, a_secret(small, account)), b"x" * 100_001
    raw = {"Content-Type": "text/plain"}
    for answer in (
        client.post(f"{place}/upload", json={"file": {"type": "text/plain", "size": len(big)}}),
        client.post(f"{place}/upload", json={"file": "data:," + big.decode()}),
        client.post(f"{place}/upload", files={"file": ("a", big)}),
        client.post(f"{place}/upload", content=big, headers=raw),
        client.post(f"{place}/upload", content=iter([big[:50_000], big]), headers=raw),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "CONTENT_TOO_LARGE"), answer.text
    assert client.post(f"{place}/upload", content=big[1:], headers=raw).status_code == 200
    assert one(small, "SELECT count(*) FROM attachments") == 1


def test_uploads_have_an_allowance_of_their_own_and_other_bodies_do_not(client, place, settings):
    large = "data:," + "x" * (2 * settings.max_body)
    assert client.post(f"{place}/upload", json={"file": large}).status_code == 200
    too_large = client.post(f"{place}/upload", json={"file": "data:," + "x" * UPLOAD_JSON})
    assert too_large.status_code == 413
    for path in (f"{API}/bot/create", f"{place}/x/delete", f"{place}/upload/x"):
        assert client.post(path, json={"name": large}).status_code == 413
        assert client.post(path, content=b"x", headers={"Content-Type": "image/png"}).status_code == 415
    for path in (f"{place}/upload", "/upload/x"):
        answer = client.post(path, content=b"x", headers={"Content-Encoding": "gzip", "Content-Type": "a/b"})
        assert answer.status_code == 415


def broken_off(context, method, path, secret, first):
    """The status of a request whose client hangs up after the first piece."""
    messages = iter([{"type": "http.request", "body": first, "more_body": True}, {"type": "http.disconnect"}])
    said = []
    headers = [(b"host", b"x"), (b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [*headers, (b"authorization", f"Bearer {secret}".encode())],
    }

    async def receive():
        return next(messages)

    async def send(message):
        said.append(message)

    asyncio.run(make_app(context)(scope, receive, send))
    return said[0]["status"]


def test_a_body_that_breaks_off_leaves_nothing_and_its_link_may_be_used_again(
    client, nobody, place, context, account
):
    secret, piece = a_secret(context, account), b"x" * (2 * CHUNK)
    assert broken_off(context, "POST", f"{place}/upload", secret, piece) == 400
    assert one(context, "SELECT count(*) FROM attachments") == 0
    answer = announced(client, place, b"y" * (3 * CHUNK))
    assert broken_off(context, "PUT", link_of(answer), "none", piece) == 400
    assert stored_files(context) == []
    assert nobody.put(link_of(answer), content=b"y" * (3 * CHUNK)).status_code == 200
    assert fetched(client, place, answer["id"]) == b"y" * (3 * CHUNK)


def test_without_a_key_nothing_is_taken_in(context, account, place):
    keyless = replace(context, settings=context.settings.model_copy(update={"key": None}))
    client = a_client(keyless, a_secret(context, account))
    for answer in (
        client.post(f"{place}/upload", json={"file": {"type": "text/plain", "size": 1}}),
        client.post(f"{place}/upload", json={"file": "data:,x"}),
        client.post(f"{place}/upload", content=b"x", headers={"Content-Type": "text/plain"}),
        client.post(f"{place}/upload", files={"file": ("a", b"b")}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert "CRONTALK_KEY" in answer.json()["message"]
    assert one(context, "SELECT count(*) FROM attachments") == 0


def test_a_storage_that_is_away_is_503_and_stores_nothing(context, account, place, tmp_path):
    (tmp_path / "file").write_text("no directory")
    away = replace(
        context, settings=context.settings.model_copy(update={"blobs": str(tmp_path / "file" / "x")})
    )
    client = a_client(away, a_secret(context, account))
    answer = client.post(f"{place}/upload", json={"file": "data:,x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert str(tmp_path) not in answer.text
    assert one(context, "SELECT count(*) FROM attachments") == 0


def test_content_that_was_changed_cut_or_swapped_is_not_given_out(client, place, context):
    content = os.urandom(2 * CHUNK + 9)
    raw = {"Content-Type": "text/plain"}
    first, second = (
        client.post(f"{place}/upload", content=content, headers=raw).json()["id"] for _ in range(2)
    )
    one_blob = one(context, "SELECT id FROM blobs WHERE attachment_id = :id", id=first)
    other = one(context, "SELECT id FROM blobs WHERE attachment_id = :id", id=second)
    (home,) = {path.parent.parent for path in stored_files(context)}
    chunk, swapped = home / str(one_blob) / "0", home / str(other) / "0"
    whole = chunk.read_bytes()
    for damage in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), swapped.read_bytes(), b""):
        chunk.write_bytes(damage)
        answer = client.get(f"{place}/{first}/download")
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    chunk.unlink()
    assert client.get(f"{place}/{first}/download").status_code == 409
    assert fetched(client, place, second) == content
    execute(context, "UPDATE blobs SET size = :size WHERE id = :id", size=CHUNK, id=other)
    assert client.get(f"{place}/{second}/download").status_code == 409


def an_attachment(client, place):
    return client.post(f"{place}/upload", json={"file": "data:,x"}).json()["id"]


def test_a_deleted_attachment_takes_its_content_with_it(client, place, context):
    kept, gone = an_attachment(client, place), an_attachment(client, place)
    assert client.post(f"{place}/{gone}/delete", json={}).json() == {"id": gone}
    assert client.get(f"{place}/{gone}/download").status_code == 404
    assert sweep_blobs(context) >= 1
    assert len(stored_files(context)) == 1
    assert fetched(client, place, kept) == b"x"
    assert rows(context, "SELECT * FROM blob_leftovers") == []


def test_a_deleted_conversation_or_account_takes_all_content_with_it(client, place, context, account):
    an_attachment(client, place)
    announced(client, place, b"never sent")
    client.post(place.removesuffix("/attachment") + "/delete")
    sweep_blobs(context)
    assert stored_files(context) == []
    other = f"{API}/conversation/{a_conversation(context, account).id}/attachment"
    an_attachment(client, other)
    assert len(stored_files(context)) == 1
    execute(context, "DELETE FROM accounts WHERE id = :id", id=account)
    sweep_blobs(context)
    assert stored_files(context) == []


def test_an_attachment_of_a_message_goes_with_it(client, place, context, account):
    conversation = place.split("/")[-2]
    elsewhere = a_conversation(context, account).id
    with context.transaction(account) as session:
        message = send(session, conversation, "Look.").message
        other = send(session, elsewhere, "Elsewhere.").message
    body = {"file": "data:text/plain,abc"}
    made = client.post(f"{place}/upload?messageId={message.id}", json=body).json()["id"]
    (listed,) = client.get(f"{place}/list").json()["items"]
    assert (listed["id"], listed["messageId"]) == (made, str(message.id))
    for wrong in (other.id, "nonsense", uuid.uuid4()):
        assert client.post(f"{place}/upload?messageId={wrong}", json=body).status_code == 404
    path = f"/api/v1/conversation/{conversation}/message/{message.id}/delete"
    assert client.post(path, json={}).status_code == 200
    assert client.get(f"{place}/list").json()["items"] == []
    assert one(context, "SELECT count(*) FROM blobs") == 0


def test_an_upload_that_never_came_is_cleared_away_after_an_hour(client, place, context):
    announced(client, place, b"abc")
    sweep_blobs(context)
    assert one(context, "SELECT count(*) FROM attachments") == 1
    execute(context, "UPDATE blobs SET created_at = now() - interval '61 minutes'")
    sweep_blobs(context)
    assert one(context, "SELECT count(*) FROM attachments") == 0


def test_what_a_killed_writer_left_is_removed_drafts_and_late_chunks_too(client, place, context, account):
    answer = announced(client, place, b"abc")
    blob = one(context, "SELECT id FROM blobs")
    directory = Path(context.settings.blobs) / str(account) / str(blob)
    directory.mkdir(parents=True)
    (directory / "0").write_bytes(b"a chunk")
    (directory / "1#1").write_bytes(b"a draft that no listing shows")
    client.post(f"{place}/{answer['id']}/delete")
    sweep_blobs(context)
    assert stored_files(context) == []
    directory.mkdir(parents=True)
    (directory / "2").write_bytes(b"from a writer that had not noticed")
    sweep_blobs(context)
    assert len(stored_files(context)) == 1  # looked at again when nobody can be writing any more
    execute(context, "UPDATE blob_leftovers SET due_at = now(), until = now()")
    sweep_blobs(context)
    assert stored_files(context) == []
    assert rows(context, "SELECT * FROM blob_leftovers WHERE id = :id", id=blob) == []


def test_content_deleted_while_it_was_uploaded_is_no_attachment(client, place, context, monkeypatch):
    from core.blobs import Writing

    finish = Writing.finish

    def deleted_meanwhile(self):
        execute(context, "DELETE FROM conversations")
        finish(self)

    monkeypatch.setattr(Writing, "finish", deleted_meanwhile)
    answer = client.post(f"{place}/upload", json={"file": "data:,x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    sweep_blobs(context)
    assert stored_files(context) == []


def test_a_commit_whose_answer_was_lost_keeps_its_content(client, place, context, monkeypatch):
    from core.blobs import Writing
    from core.errors import Unavailable

    finish = Writing.finish

    def cut_off(self):
        finish(self)
        raise Unavailable("The database did not answer in time; try again.")

    monkeypatch.setattr(Writing, "finish", cut_off)
    assert client.post(f"{place}/upload", json={"file": "data:,x"}).status_code == 503
    (item,) = client.get(f"{place}/list").json()["items"]
    assert fetched(client, place, item["id"]) == b"x"


def test_an_attachment_is_reached_through_its_own_conversation_only(client, place, context, account):
    attachment = an_attachment(client, place)
    other = f"{API}/conversation/{a_conversation(context, account).id}/attachment"
    assert client.get(f"{other}/{attachment}/download").status_code == 404
    assert client.post(f"{other}/{attachment}/delete").status_code == 404
    stranger = a_client(context, a_secret(context, an_account(context, "Grace")))
    assert stranger.get(f"{place}/{attachment}/download").status_code == 403
    for kind, body in (("text/plain", b"x"), ("application/json", json.dumps({"file": "data:,x"}).encode())):
        answer = stranger.post(f"{place}/upload", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 403


def test_a_token_that_may_only_read_takes_nothing_in(context, account, place):
    reader = a_client(context, a_secret(context, account, ("read",)))
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x"):
        answer = reader.post(f"{place}/upload", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 403

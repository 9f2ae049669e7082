"""Datasets, records, skillsets, abilities and files through the dialect."""

from __future__ import annotations

import json

import pytest

from core.blobs import sweep_blobs
from tests.factories import a_bot, a_conversation, execute, one, rows
from tests.knowledge import a_dataset, a_file, fill, finish

API = "/api/v1"
MARKER = "geheim4711"
DATASET = {
    "name": "Facts",
    "description": "What we know.",
    "alias": "facts",
    "blueprintId": "bp1",
    "store": "ada-002",
    "reranker": "none",
    "recordMaxTokens": 200,
    "searchMinScore": 0.2,
    "searchMaxRecords": 5,
    "searchMaxTokens": 1000,
    "matchInstruction": "Use it.",
    "mismatchInstruction": "Say so.",
    "separators": "\\n,---",
    "language": "german",
    "visibility": "protected",
    "meta": {"app": "x"},
}
SKILLSET = {
    "name": "Skills",
    "description": "What we can do.",
    "alias": "skills",
    "blueprintId": "bp2",
    "visibility": "public",
    "state": "disabled",
    "meta": {"app": "x"},
}
FILE = {
    "name": "Notes",
    "description": "What we wrote.",
    "alias": "notes",
    "blueprintId": "bp3",
    "visibility": "public",
    "meta": {"app": "x"},
}


def done(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status=400):
    assert answer.status_code == status, answer.text
    assert MARKER not in answer.text


@pytest.mark.parametrize(("noun", "body"), [("dataset", DATASET), ("skillset", SKILLSET), ("file", FILE)])
def test_every_field_is_stored_and_given_back_changed_and_cleared(client, noun, body):
    row = done(client.post(f"{API}/{noun}/create", json=body))["id"]
    stored = done(client.get(f"{API}/{noun}/{row}/fetch"))
    assert {name: stored[name] for name in body} == body
    assert isinstance(stored["createdAt"], int)
    (item,) = done(client.get(f"{API}/{noun}/list", params={"meta.app": "x"}))["items"]
    assert item == stored
    assert done(client.get(f"{API}/{noun}/list", params={"meta.app": "y"}))["items"] == []
    assert done(client.post(f"{API}/{noun}/{row}/update", json={"name": "New"})) == {"id": row}
    changed = done(client.get(f"{API}/{noun}/{row}/fetch"))
    assert {**changed, "updatedAt": 0} == {**stored, "name": "New", "updatedAt": 0}
    assert changed["updatedAt"] >= stored["updatedAt"]
    done(client.post(f"{API}/{noun}/{row}/update", json=dict.fromkeys(body)))
    cleared = done(client.get(f"{API}/{noun}/{row}/fetch"))
    left = {"store", "visibility", "state"} & body.keys()
    assert cleared.keys() == {"id", "createdAt", "updatedAt"} | left
    assert cleared["visibility"] == "private"
    assert done(client.post(f"{API}/{noun}/{row}/delete", json={})) == {"id": row}
    assert client.get(f"{API}/{noun}/{row}/fetch").status_code == 404


@pytest.mark.parametrize("noun", ["dataset", "skillset", "file"])
def test_nothing_needs_to_be_said_and_meta_is_merged(client, noun):
    row = done(client.post(f"{API}/{noun}/create", json={}))["id"]
    for given, merged in (
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}),
        ({"b": 3, "-dropped": 4}, {"a": 1, "b": 3}),
        ({"$update": {"d": None}}, {"a": 1, "b": 3, "d": None}),
    ):
        done(client.post(f"{API}/{noun}/{row}/update", json={"meta": given}))
        assert done(client.get(f"{API}/{noun}/{row}/fetch"))["meta"] == merged
    done(client.post(f"{API}/{noun}/{row}/update", json={"meta": None}))
    assert "meta" not in done(client.get(f"{API}/{noun}/{row}/fetch"))


FAULTS = [
    ("dataset", "name", "x" * 1001),
    ("dataset", "name", 5),
    ("dataset", "meta", []),
    ("dataset", "meta", {"_a": 1}),
    ("dataset", "visibility", MARKER),
    ("dataset", "recordMaxTokens", 0),
    ("dataset", "recordMaxTokens", "5"),
    ("dataset", "recordMaxTokens", 10**30),
    ("dataset", "searchMinScore", 1.5),
    ("dataset", "searchMinScore", -1),
    ("dataset", "searchMinScore", True),
    ("dataset", "searchMaxRecords", 101),
    ("dataset", "searchMaxTokens", -5),
    ("dataset", "separators", ["a"]),
    ("dataset", "matchInstruction", "x" * 65_537),
    ("dataset", "store", 5),
    ("dataset", "store", "x" * 1001),
    ("skillset", "state", MARKER),
    ("skillset", "state", True),
    ("skillset", "visibility", MARKER * 3),
    ("skillset", "alias", {}),
    ("file", "visibility", MARKER),
    ("file", "meta", MARKER),
    ("file", "blueprintId", 5),
    ("file", "description", "é" * 40_000),
]


@pytest.mark.parametrize(("noun", "field", "value"), FAULTS)
def test_what_cannot_be_stored_is_refused_and_changes_nothing(client, noun, field, value):
    refused(client.post(f"{API}/{noun}/create", json={field: value}))
    assert done(client.get(f"{API}/{noun}/list"))["items"] == []
    row = done(client.post(f"{API}/{noun}/create", json={"name": "x"}))["id"]
    before = done(client.get(f"{API}/{noun}/{row}/fetch"))
    if field != "store":
        refused(client.post(f"{API}/{noun}/{row}/update", json={"description": "new", field: value}))
    assert done(client.get(f"{API}/{noun}/{row}/fetch")) == before


def test_records_are_created_changed_listed_exported_and_deleted(client, context, account):
    place = f"{API}/dataset/{a_dataset(context, account).id}/record"
    body = {"text": "The sky is blue.", "source": "eyes", "meta": {"kind": "sky"}}
    row = done(client.post(f"{place}/create", json=body))["id"]
    record = done(client.get(f"{place}/{row}/fetch"))
    assert {name: record[name] for name in body} == body
    done(client.post(f"{place}/{row}/update", json={"text": "It is grey.", "meta": {"day": 2}}))
    done(client.post(f"{place}/{row}/update", json={"source": None}))
    changed = done(client.get(f"{place}/{row}/fetch"))
    assert (changed["text"], changed["meta"]) == ("It is grey.", {"kind": "sky", "day": 2})
    assert "source" not in changed
    assert done(client.get(f"{place}/list"))["items"] == [changed]
    lines = client.get(f"{place}/export", headers={"Accept": "application/jsonl"}).text.splitlines()
    assert [json.loads(line)["data"] for line in lines] == [changed]
    assert "It is grey." in client.get(f"{place}/export", headers={"Accept": "text/csv"}).text
    for wrong in ({}, {"text": None}, {"text": ""}, {"text": " "}, {"text": 5}, {"text": "x" * 262_145}):
        refused(client.post(f"{place}/create", json=wrong))
        if wrong:
            refused(client.post(f"{place}/{row}/update", json=wrong))
    assert done(client.post(f"{place}/{row}/delete")) == {"id": row}
    assert done(client.get(f"{place}/list"))["items"] == []


def test_records_are_listed_and_exported_page_by_page_and_by_meta(client, context, account):
    place = f"{API}/dataset/{a_dataset(context, account).id}/record"
    for number in range(5):
        body = {"text": f"Number {number}.", "meta": {"odd": bool(number % 2), "by": {"n": str(number)}}}
        done(client.post(f"{place}/create", json=body))
    for every in ("list", "export"):
        first = done(client.get(f"{place}/{every}", params={"take": 2}))["items"]
        after = done(client.get(f"{place}/{every}", params={"take": 2, "cursor": first[-1]["id"]}))["items"]
        assert texts(first + after) == ["Number 4.", "Number 3.", "Number 2.", "Number 1."]
        assert texts(done(client.get(f"{place}/{every}", params={"meta.odd": "true"}))["items"]) == [
            "Number 3.",
            "Number 1.",
        ]
        assert len(done(client.get(f"{place}/{every}", params={"meta.by.n": "2"}))["items"]) == 1
    table = client.get(f"{place}/export", headers={"Accept": "text/csv"}).text.splitlines()
    assert len(table) == 6
    assert "text" in table[0]


def test_records_and_abilities_are_reached_through_their_own_parent_only(client, world, context, account):
    other = a_dataset(context, account).id
    for verb in ("fetch", "update", "delete"):
        method = "GET" if verb == "fetch" else "POST"
        answer = client.request(method, f"{API}/dataset/{other}/record/{world.recordId}/{verb}")
        assert answer.status_code == 404
    other = done(client.post(f"{API}/skillset/create", json={}))["id"]
    for verb in ("fetch", "update", "delete"):
        method = "GET" if verb == "fetch" else "POST"
        answer = client.request(method, f"{API}/skillset/{other}/ability/{world.abilityId}/{verb}")
        assert answer.status_code == 404


def searched(client, dataset, search, **more):
    answer = done(client.post(f"{API}/dataset/{dataset}/search", json={"search": search, **more}))
    assert answer["id"] == str(dataset)
    return answer["records"]


def texts(found):
    return [record["text"] for record in found]


def test_a_search_finds_what_has_most_of_the_words_best_first(client, context, account):
    sky, grass, both = "The sky is blue.", "Grass is green.", "Blue sky, green grass."
    dataset = a_dataset(context, account, sky, grass, both, "Unrelated.").id
    found = searched(client, dataset, "blue sky")
    assert set(texts(found)) == {sky, both}
    assert texts(searched(client, dataset, "why, green grass: not blue?"))[0] == both
    assert all(0 < record["score"] <= 1 for record in found)
    assert searched(client, dataset, "nothing like it here whatsoever") == []
    assert texts(searched(client, dataset, "SKY"))  # case is nothing


@pytest.mark.parametrize(
    "search",
    [
        "...",
        "'",
        "a & b | !c <-> d:*",
        "\\",
        "'; DROP TABLE records",
        "é😀",
        "a\tb\n",
        "http://x.example/?a=1 & b",
        "x" * 2000,
        "w " * 900,
        "<b>tag</b>",
        "() ()",
        '"quoted words" -minus',
        "C:\\path\\'x'",
    ],
)
def test_any_words_may_be_searched_for(client, context, account, search):
    dataset = a_dataset(context, account, "Some text. " + search).id
    assert len(searched(client, dataset, search)) <= 1


def test_a_search_is_a_text_of_some_length(client, context, account):
    dataset = a_dataset(context, account).id
    for search in ("", " ", None, 5, ["x"], "x" * 2001, "a\x00b"):
        refused(client.post(f"{API}/dataset/{dataset}/search", json={"search": search}))
    refused(client.post(f"{API}/dataset/{dataset}/search", json={}))


def test_a_search_keeps_to_the_datasets_limits(client, context, account):
    dataset = a_dataset(context, account, *(f"blue number {n} " + "word " * 40 for n in range(12))).id
    assert len(searched(client, dataset, "blue")) == 10
    for config, length in (
        ({"searchMaxRecords": 3}, 3),
        ({"searchMaxRecords": None, "searchMaxTokens": 130}, 2),
        ({"searchMaxTokens": 1}, 0),
        ({"searchMaxTokens": None, "searchMinScore": 0.6}, 10),
    ):
        done(client.post(f"{API}/dataset/{dataset}/update", json=config))
        assert len(searched(client, dataset, "blue")) == length, config
    assert searched(client, dataset, "blue elephants dance") == []


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({"n": 1}, "a"),
        ({"n": {"$eq": 1}}, "a"),
        ({"n": {"$ne": 1}}, "bcd"),
        ({"n": {"$gt": 1}}, "b"),
        ({"n": {"$gte": 1, "$lt": 2}}, "a"),
        ({"n": {"$lte": 2}}, "ab"),
        ({"n": "1"}, "c"),
        ({"n": {"$gt": "0"}}, "c"),
        ({"n": None}, "d"),
        ({"n": {"$ne": None}}, "abc"),
        ({"n": {"$gt": None}}, ""),
        ({"flag": True}, "b"),
        ({"n": 2, "flag": True}, "b"),
        ({"missing": "x"}, ""),
        ({}, "abcd"),
        (None, "abcd"),
        ({"n": 10**30}, ""),
        ({"n": 1.0}, "a"),
        ({"a.b": 1}, ""),
        ({"é'\"": "x"}, ""),
        ({"n": ""}, ""),
    ],
)
def test_a_search_is_filtered_by_meta(client, context, account, filter_, found):
    dataset = a_dataset(context, account).id
    metas = {"a": {"n": 1}, "b": {"n": 2, "flag": True}, "c": {"n": "1"}, "d": {}}
    for name, meta in metas.items():
        body = {"text": f"{name} common", "meta": meta}
        done(client.post(f"{API}/dataset/{dataset}/record/create", json=body))
    assert {text[0] for text in texts(searched(client, dataset, "common", filter=filter_))} == set(found)


@pytest.mark.parametrize(
    "filter_",
    [
        5,
        "x",
        [],
        {"n": []},
        {"n": {}},
        {"n": {"$in": [1]}},
        {"n": {"$eq": [1]}},
        {"n": {"$eq": {"a": 1}}},
        {"n": {"a": MARKER}},
        {f"k{n}": 1 for n in range(21)},
    ],
)
def test_a_filter_that_is_none_is_refused(client, context, account, filter_):
    dataset = a_dataset(context, account, "x").id
    refused(client.post(f"{API}/dataset/{dataset}/search", json={"search": "x", "filter": filter_}))


def test_abilities_are_stored_with_their_links_under_both_names(client, context, account, world):
    place = f"{API}/skillset/{world.skillsetId}/ability"
    body = {"name": "mail", "description": "Sends.", "instruction": "Do it.", "meta": {"a": 1}}
    first, second = (
        done(client.post(f"{API}/secret/create", json={"name": name, "type": "plain", "value": "v"}))["id"]
        for name in ("one", "two")
    )
    links = {
        "secretId": first,
        "fileId": world.fileId,
        "botId": world.botId,
        "spaceId": "p1",
        "blueprintId": "b1",
    }
    row = done(client.post(f"{place}/create", json={**body, **links}))["id"]
    ability = done(client.get(f"{place}/{row}/fetch"))
    assert {name: ability[name] for name in (*body, *links)} == {**body, **links}
    assert (ability["linkedSecretId"], ability["linkedBotId"]) == (first, world.botId)
    done(client.post(f"{place}/{row}/update", json={"linkedSecretId": second, "botId": None, "name": "post"}))
    changed = done(client.get(f"{place}/{row}/fetch"))
    assert (changed["secretId"], changed["name"], "botId" in changed) == (second, "post", False)
    for every in ("list", "export"):
        assert row in {item["id"] for item in done(client.get(f"{place}/{every}"))["items"]}
    empty = done(client.get(f"{place}/{done(client.post(f'{place}/create', json={}))['id']}/fetch"))
    assert (empty["name"], empty["description"], empty["instruction"]) == ("", "", "")
    for wrong in ({"name": 5}, {"instruction": "x" * 262_145}, {"meta": {"_x": 1}}):
        refused(client.post(f"{place}/create", json=wrong))
    for missing in ("fileId", "secretId", "botId"):
        refused(client.post(f"{place}/create", json={missing: MARKER}), 404)


def test_a_file_is_uploaded_replaced_and_downloaded_by_a_link_that_works_once(
    client, nobody, context, account
):
    place = f"{API}/file/{a_file(context, account, None).id}"
    assert client.get(f"{place}/download").status_code == 404
    for content in (b"first", b"second, longer"):
        body = {"file": {"type": "text/csv", "size": len(content), "name": "../t.csv"}}
        answer = done(client.post(f"{place}/upload", json=body))
        assert (answer["id"], answer["name"]) == (place.rpartition("/")[2], "t.csv")
        request = answer["uploadRequest"]
        done(nobody.request(request["method"], request["url"], content=content, headers=request["headers"]))
        file = done(client.get(f"{place}/fetch"))
        assert (file["type"], file["size"], file["fileName"]) == ("text/csv", len(content), "t.csv")
        url = done(client.get(f"{place}/download"))["url"]
        got = nobody.get(url)
        assert (got.status_code, got.content) == (200, content)
        assert got.headers["content-disposition"].startswith("attachment;")
        assert nobody.get(url).status_code == 404
    assert one(context, "SELECT count(*) FROM blobs WHERE file_id IS NOT NULL") == 1
    sweep_blobs(context)
    (item,) = done(client.get(f"{API}/file/list"))["items"]
    assert item == done(client.get(f"{place}/fetch"))


def test_an_upload_that_fails_leaves_the_old_content(client, nobody, context, account):
    place = f"{API}/file/{a_file(context, account, b'old').id}"
    request = done(client.post(f"{place}/upload", json={"file": {"type": "a/b", "size": 3}}))["uploadRequest"]
    assert nobody.put(request["url"], content=b"too long").status_code == 413
    refused(client.post(f"{place}/upload", json={"file": "data:text/plain;base64,?"}))
    assert nobody.get(done(client.get(f"{place}/download"))["url"]).content == b"old"
    execute(context, "UPDATE blobs SET created_at = now() - interval '2 hours'")
    sweep_blobs(context)
    assert nobody.get(done(client.get(f"{place}/download"))["url"]).content == b"old"


def a_synced(client, context, account, content, kind="text/plain", name="notes.txt", **config):
    """A dataset's place, a file that was made into its records, and the job that did it."""
    dataset = a_dataset(context, account, config=config)
    file = a_file(context, account, content, kind, name)
    place = f"{API}/dataset/{dataset.id}"
    done(client.post(f"{place}/file/{file.id}/attach", json={"type": "source"}))
    return place, file, synced(client, context, f"{place}/file/{file.id}")


def synced(client, context, place):
    """The ended job of a synchronisation."""
    answer = done(client.post(f"{place}/sync", json={}))
    assert answer.keys() == {"id", "jobId"}
    assert place.endswith(answer["id"])
    finish(context, answer["jobId"])
    return done(client.get(f"{API}/job/{answer['jobId']}/fetch"))


def codes_of(client, job):
    found = done(client.get(f"{API}/job/{job['id']}/error/list"))["items"]
    assert all(MARKER not in error["message"] for error in found)
    return [error["code"] for error in found]


def records_of(client, place):
    return done(client.get(f"{place}/record/list", params={"order": "asc"}))["items"]


@pytest.mark.parametrize(
    ("content", "kind", "name", "config", "expected"),
    [
        ("One.\n\n  Two\nlines. \r\n \r\nThree.", "text/plain", None, {}, ["One.", "Two\nlines.", "Three."]),
        ("a---b\nc", "text/markdown", None, {"separators": "\\n,---"}, ["a", "b", "c"]),
        ("\ufeffx", "application/octet-stream", "x.MD", {}, ["x"]),
        (
            "name,age\nAda,36\n,\nGrace,45\n",
            "text/csv",
            None,
            {},
            ["name: Ada\nage: 36", "name: Grace\nage: 45"],
        ),
        ('["a", {"text": "b"}, 5, ""]', "application/json", None, {}, ["a", "b", "5"]),
        ('{"records": ["a"]}', "application/json", None, {}, ["a"]),
        ("", "text/plain", None, {}, []),
        (
            "word " * 30,
            "text/plain",
            None,
            {"recordMaxTokens": 20},
            [("word " * 16).strip(), ("word " * 14).strip()],
        ),
        ("é" * 10, "text/plain", None, {"recordMaxTokens": 1}, ["éé"] * 5),
    ],
)
def test_a_synchronised_file_becomes_records(client, context, account, content, kind, name, config, expected):
    place, file, job = a_synced(client, context, account, content.encode(), kind, name, **config)
    assert (job["kind"], job["state"], job["done"], job["failed"]) == ("sync", "completed", 1, 0)
    assert (job["fileId"], job["counts"]) == (str(file.id), {"records": len(expected)})
    found = records_of(client, place)
    assert texts(found) == expected
    assert {record["fileId"] for record in found} <= {str(file.id)}


def test_columns_and_keys_become_source_and_meta(client, context, account):
    table = b"text,source,topic\nBlue.,eyes,sky\n"
    items = b'[{"text": "Blue.", "source": "eyes", "meta": {"topic": "sky", "_x": 1}}]'
    for content, kind in ((table, "text/csv"), (items, "application/json")):
        place, _, _ = a_synced(client, context, account, content, kind)
        (record,) = records_of(client, place)
        assert (record["text"], record["source"], record["meta"]) == ("Blue.", "eyes", {"topic": "sky"})


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"\xff\xfe", "text/plain", "not_utf8"),
        (b"a\x00b", "text/plain", "nul"),
        (b"%PDF-1.7", "application/pdf", "file_damaged"),
        (b"{", "application/json", "file_not_json"),
        (b"[NaN]", "application/json", "file_not_json"),
        (b'[{"text": "a", "meta": {"x": 1e999}}]', "application/json", "file_not_json"),
        (b'["\\u0000"]', "application/json", "not_storable"),
        (b'["\\ud800"]', "application/json", "file_not_json"),
        (b'[{"text": "a", "meta": {"x": "\\u0000"}}]', "application/json", "not_storable"),
        (b"[" * 100_000, "application/json", "file_not_json"),
        (b'a,b\n"' + b"x" * 200_000, "text/csv", "file_not_csv"),
        (b"x\n\n" * 10_001, "text/plain", "too_many_records"),
        (b"9" * 5000, "application/json", "file_not_json"),
        (b"", "text/html", "no_text"),
    ],
    ids=range(14),
)
def test_a_file_that_makes_no_records_fails_and_keeps_the_old_ones(
    client, context, account, content, kind, code
):
    place, file, _ = a_synced(client, context, account, b"old")
    fill(context, account, file.id, content, kind, "x.bin")
    job = synced(client, context, f"{place}/file/{file.id}")
    assert (job["state"], job["errorClass"], job["failed"]) == ("failed", "refused", 1)
    assert codes_of(client, job) == [code]
    assert texts(records_of(client, place)) == ["old"]


def test_a_file_of_an_unknown_kind_is_refused_at_once(client, context, account):
    dataset, file = a_dataset(context, account), a_file(context, account, b"x", "image/png", "x.png")
    place = f"{API}/dataset/{dataset.id}/file/{file.id}"
    done(client.post(f"{place}/attach"))
    refused(client.post(f"{place}/sync"))
    refused(client.post(f"{API}/file/{file.id}/sync"))


def test_a_second_synchronisation_replaces_the_files_records_and_no_others(client, context, account):
    place, file, _ = a_synced(client, context, account, b"One.\n\nTwo.")
    done(client.post(f"{place}/record/create", json={"text": "By hand."}))
    fill(context, account, file.id, b"Three.")
    synced(client, context, f"{API}/file/{file.id}")
    assert sorted(texts(records_of(client, place))) == ["By hand.", "Three."]
    assert rows(context, "SELECT synced_at FROM dataset_files WHERE synced_at IS NULL") == []


def test_a_detached_file_leaves_its_records_unless_told(client, context, account):
    for body, left in (({}, ["One."]), ({"deleteRecords": False}, ["One."]), ({"deleteRecords": True}, [])):
        place, file, _ = a_synced(client, context, account, b"One.")
        assert [f["id"] for f in done(client.get(f"{place}/file/list"))["items"]] == [str(file.id)]
        assert done(client.post(f"{place}/file/{file.id}/detach", json=body)) == {"id": str(file.id)}
        assert done(client.get(f"{place}/file/list"))["items"] == []
        assert texts(records_of(client, place)) == left
        for verb in ("detach", "sync"):
            assert client.post(f"{place}/file/{file.id}/{verb}").status_code == 404


def test_attaching_twice_is_harmless_and_the_type_is_source(client, context, account):
    dataset, file = a_dataset(context, account), a_file(context, account, None)
    place = f"{API}/dataset/{dataset.id}/file/{file.id}"
    for body in ({}, {"type": "source"}, {"type": None}):
        done(client.post(f"{place}/attach", json=body))
    refused(client.post(f"{place}/attach", json={"type": MARKER}))
    assert client.post(f"{place}/sync").status_code == 404
    assert one(context, "SELECT count(*) FROM dataset_files") == 1


def test_a_deleted_file_leaves_its_records_and_takes_its_content(client, context, account):
    place, file, _ = a_synced(client, context, account, b"One.")
    done(client.post(f"{API}/file/{file.id}/delete"))
    (record,) = records_of(client, place)
    assert "fileId" not in record
    assert one(context, "SELECT count(*) FROM blobs") == 0
    done(client.post(f"{place}/delete"))
    assert one(context, "SELECT count(*) FROM records") == 0


def test_a_deleted_dataset_or_skillset_leaves_its_bots_and_conversations(client, context, account, world):
    bot, conversation = a_bot(context, account), a_conversation(context, account)
    for table, row in (("bots", bot.id), ("conversations", conversation.id)):
        execute(
            context,
            f"UPDATE {table} SET dataset_id = :dataset, skillset_id = :skillset WHERE id = :id",
            dataset=world.datasetId,
            skillset=world.skillsetId,
            id=row,
        )
    done(client.post(f"{API}/dataset/{world.datasetId}/delete"))
    done(client.post(f"{API}/skillset/{world.skillsetId}/delete"))
    for table, row in (("bots", bot.id), ("conversations", conversation.id)):
        (left,) = rows(
            context, f"SELECT account_id, dataset_id, skillset_id FROM {table} WHERE id = :id", id=row
        )
        assert left == {"account_id": account, "dataset_id": None, "skillset_id": None}

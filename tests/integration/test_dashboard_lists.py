"""What the lists are looked through by, and what a job could not deal with."""

from __future__ import annotations

import csv
import io
import uuid
from urllib.parse import quote

import pytest

from core.errors import InvalidInput
from core.naming import page_named
from models import Contact, Task
from tests.api import a_browser
from tests.factories import a_backfill, a_bot, a_contact, a_task, an_account, execute, rows
from tests.imports import imported
from tests.pages import PAYLOADS, Page, assert_harmless

MANY = (
    "INSERT INTO contacts (id, account_id, fingerprint, name) SELECT {id}, :account,"
    " gen_random_uuid()::text, {name} FROM generate_series(1, {count}) n"
)
# Ids that sort by `n`, as those of a time do.
BY_TIME = "lpad(to_hex(n), 8, '0')::text || '-0000-7000-8000-000000000000'"


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


def names(answer):
    """What a list names, in its order."""
    assert answer.status_code == 200
    return [a["href"].rpartition("/")[2] for a in Page(answer).all("a") if "data-row" in a]


def many(context, account, count, name):
    execute(context, MANY.format(id=f"({BY_TIME})::uuid", name=name, count=count), account=account)


def named(context, account, table, words, **window):
    with context.transaction(account) as session:
        return [one.name for one in page_named(session, table, words, **window)]


@pytest.mark.parametrize("q", ["ada", "ADA L", "  Ada Lovelace ", "ada lovelace"])
def test_a_contact_is_found_by_how_its_name_begins_whichever_case(browser, context, account, q):
    ada = a_contact(context, account, name="Ada Lovelace")
    a_contact(context, account, name="Grace Ada Hopper")
    a_contact(context, an_account(context, "Other"), name="Ada Lovelace")
    assert names(browser.get("/contacts", params={"q": q})) == [str(ada.id)]


def test_a_contact_without_a_name_is_found_by_its_nick(browser, context, account):
    nick = a_contact(context, account, name=None, nick="Ödön")
    assert names(browser.get("/contacts", params={"q": "öd"})) == [str(nick.id)]


@pytest.mark.parametrize(("section", "make"), [("bots", a_bot), ("tasks", a_task)])
def test_bots_and_tasks_are_found_by_any_part_of_their_names(browser, context, account, section, make):
    report = make(context, account, name="The 100% Morning_Report")
    make(context, account, name="Evening")
    make(context, an_account(context, "Other"), name="Another morning")
    for q in ("morning", "MORNING_", "100% m"):
        assert names(browser.get(f"/{section}", params={"q": q})) == [str(report.id)], q
    for q in ("mor%ning", "mor_ing", "another", "\\", "%"):
        wanted = [str(report.id)] if q == "%" else []
        assert names(browser.get(f"/{section}", params={"q": q})) == wanted, q
    execute(context, "DELETE FROM task_clocks")
    execute(context, "DELETE FROM tasks")


@pytest.mark.parametrize("section", ["contacts", "bots", "tasks"])
def test_a_search_has_a_field_with_a_label_and_what_was_written_in_it(browser, section):
    page = Page(browser.get(f"/{section}?q=Ada+L"))
    (form,) = [form for form in page.all("form") if form.get("role") == "search"]
    assert (form["action"], form["method"]) == (f"/{section}", "get")
    (field,) = [field for field in page.all("input") if "data-search" in field]
    assert (field["name"], field["value"]) == ("q", "Ada L")
    assert field["id"] in {label.get("for") for label in page.all("label")}
    assert f"/{section}" in [a["href"] for a in page.all("a") if not a.get("aria-current")]


@pytest.mark.parametrize("section", ["contacts", "bots", "tasks"])
@pytest.mark.parametrize(
    "q", ["\x00", "x" * 101, "ä" * 51, *PAYLOADS, "%", "\\", "'", "\U0010ffff", "\ud83d", " ", "x" * 100]
)
def test_no_name_breaks_a_list_and_none_is_more_than_words(browser, section, q):
    refused = q in {"\x00", "x" * 101, "ä" * 51}
    answer = browser.get(f"/{section}?q={quote(q.encode('utf-8', 'surrogatepass'))}")
    assert answer.status_code == (400 if refused else 200)
    page = assert_harmless(answer, q)
    assert [at for _, at in page.elements if at.get("role") == "alert"] or not refused


@pytest.mark.parametrize("count", [120, 5200])
def test_pages_of_a_search_follow_each_other_without_a_gap(browser, context, account, count):
    """Few and many that begin so are looked for in different ways, with one result."""
    many(context, account, count, "CASE WHEN n % 50 = 0 THEN 'Other ' ELSE 'Customer & ' END || n")
    path, seen = "/contacts?q=customer+%26", []
    for _ in range(3):
        answer = browser.get(path)
        seen += names(answer)
        older = [a["href"] for a in Page(answer).all("a") if a.get("rel") == "next"]
        if not older:
            break
        assert "q=customer+%26" in older[0]
        path = older[0]
    wanted = rows(context, "SELECT id FROM contacts WHERE name LIKE 'Customer%' ORDER BY id DESC")
    assert seen == [str(row["id"]) for row in wanted][:150]
    newest = [a["href"] for a in Page(browser.get(path)).all("a") if a["href"] == "/contacts?q=customer+%26"]
    assert newest


def test_few_of_many_contacts_are_found_through_the_index(context, account):
    many(context, account, 6000, "'Person ' || n")
    for plan in ("force_generic_plan", "force_custom_plan"):
        with context.transaction(account) as session:
            connection = session.connection()
            connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {plan}")
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            found = page_named(session, Contact, "person 599", take=50)
        assert [row.name for row in found] == [
            *(f"Person {n}" for n in range(5999, 5989, -1)),
            "Person 599",
        ]
    range_ = (
        "EXPLAIN SELECT id FROM contacts WHERE account_id = :account"
        " AND lower(substr(COALESCE(name, nick), 1, 100)) ~>=~ lower(CAST(:q AS text))"
        " AND lower(substr(COALESCE(name, nick), 1, 100)) ~<~ lower(CAST(:q AS text) || 'z') LIMIT 5001"
    )
    execute(context, "ANALYZE contacts")  # as the server does by itself, some time after it was filled
    plan = rows(context, range_, account=account, q="person 599")
    assert "ix_contacts_named" in str(plan)


def test_a_search_that_takes_too_long_is_refused_and_says_so(browser, context, account, monkeypatch):
    a_task(context, account, name="Morning")
    monkeypatch.setattr("core.naming.TIME", 20)
    execute(context, "ALTER TABLE tasks RENAME TO tasks_kept")
    try:
        execute(context, "CREATE VIEW tasks AS SELECT t.* FROM tasks_kept t, pg_sleep(0.5)")
        answer = browser.get("/tasks?q=morning")
    finally:
        execute(context, "DROP VIEW IF EXISTS tasks")
        execute(context, "ALTER TABLE tasks_kept RENAME TO tasks")
    assert answer.status_code == 400
    assert "The search takes too long; write more of the name." in Page(answer).text
    with context.transaction(account) as session, pytest.raises(InvalidInput):
        page_named(session, Task, "x" * 101)


def a_job_with_errors(context, account):
    lines = [
        b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}',
        b'{"messages":[{"role":"user","content":"a secret',
        b"[]",
    ]
    return imported(context, account, b"\n".join(lines) + b"\n", "train.jsonl", format="openai")


def table_of(answer):
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.text)))


def test_what_a_job_could_not_deal_with_is_shown_and_downloaded(browser, context, account):
    job = a_job_with_errors(context, account)
    page = Page(browser.get(f"/jobs/{job.id}"))
    assert "Errors (2)" in page.text
    assert "not_json" in page.text
    place = f"/jobs/{job.id}/errors.csv"
    assert place in [a["href"] for a in page.all("a")]
    answer = browser.get(place)
    assert table_of(answer) == [["row", "code"], ["2", "not_json"], ["3", "not_an_object"]]
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="job-{job.id}-errors.csv"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in answer.text + page.text


def test_a_file_of_errors_is_whole_and_no_spreadsheet_computes_what_is_in_it(browser, context, account):
    job = a_job_with_errors(context, account)
    execute(
        context,
        "INSERT INTO job_errors (job_id, number, account_id, row, code)"
        " SELECT :job, n, :account, n, CASE n WHEN 3 THEN '=1+1' WHEN 4 THEN '@x' ELSE 'not_json' END"
        " FROM generate_series(3, 2500) n",
        job=job.id,
        account=account,
    )
    execute(context, "UPDATE jobs SET counts = '{\"errors\": 12000}' WHERE id = :id", id=job.id)
    table = table_of(browser.get(f"/jobs/{job.id}/errors.csv"))
    assert len(table) == 2501
    assert [row[0] for row in table[3:]] == [str(n) for n in range(3, 2501)]
    assert [row[1] for row in table[3:5]] == ["'=1+1", "'@x"]
    page = Page(browser.get(f"/jobs/{job.id}"))
    assert "Errors (12,000) , the first 10,000 of them" in page.text
    assert "The first 20." in page.text


def test_a_job_without_errors_offers_none_and_strangers_get_none(browser, context, account, world):
    page = Page(browser.get(f"/jobs/{world.jobId}"))
    assert "errors.csv" not in str(page.elements)
    assert table_of(browser.get(f"/jobs/{world.jobId}/errors.csv")) == [["row", "code"]]
    stranger = a_browser(context, an_account(context, "Grace"))
    for part in ("row", "errors.csv"):
        assert stranger.get(f"/jobs/{world.jobId}/{part}").status_code == 403
        assert stranger.get(f"/jobs/{uuid.uuid4()}/{part}").status_code == 404


def test_a_backfill_names_its_runs_that_failed(browser, context, account):
    task = a_task(context, account, schedule="@every 1h")
    job = a_backfill(context, account, task.id)
    execute(
        context,
        "INSERT INTO runs (id, account_id, task_id, backfill_id, trigger, state, action, scheduled_for,"
        " finished_at, error_class) SELECT gen_random_uuid(), account_id, task_id, id, 'backfill', 'failed',"
        " 'complete',"
        " '2020-01-01T00:00Z'::timestamptz + n * interval '1 minute', now(), 'quota' FROM jobs,"
        " generate_series(1, 30) n WHERE id = :id",
        id=job.id,
    )
    page = Page(browser.get(f"/jobs/{job.id}"))
    assert "Runs that failed The first 20." in page.text
    links = [a["href"] for a in page.all("a") if a["href"].startswith("/runs/")]
    first = rows(context, "SELECT id FROM runs ORDER BY scheduled_for LIMIT 20")
    assert links == [f"/runs/{row['id']}" for row in first]
    assert "quota" in page.text


def test_a_row_of_an_unfinished_job_follows_it_until_it_ends(browser, context, account, world):
    row = f"/jobs/{world.jobId}/row"
    page = Page(browser.get("/jobs"))
    (live,) = [at for tag, at in page.elements if tag == "tr" and "data-live" in at]
    assert (live["data-live"], live["hx-get"], live["hx-trigger"]) == (world.jobId, row, "news, every 15s")
    assert page.all("progress")
    part = Page(browser.get(row))
    assert part.elements[0][0] == "tr"
    assert part.elements[0][1] == live
    browser.post(f"/jobs/{world.jobId}/cancel", headers={"Origin": "http://127.0.0.1"})
    execute(context, "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE finished_at IS NULL")
    part = Page(browser.get(row))
    assert "data-live" not in part.elements[0][1]
    assert "cancelled" in part.text

"""What the chaos demo sees of a run between two looks, however much happens in between."""

from __future__ import annotations

from cli.reach import Reach
from cli.witness import lease_left, taken_from
from core.turns import carry_out
from tests.factories import a_pending_run, abandon, execute


def test_a_lease_is_over_for_its_worker_even_if_the_next_one_already_holds_the_run(context, account):
    run, at = a_pending_run(context, account), Reach(context, account)
    abandon(context, run.id)
    dead, held = "the dead", "UPDATE runs SET worker = :worker, lease_until = now() + interval '4 s'"
    execute(context, held, worker=dead)
    assert lease_left(at, run.id, dead) > 3
    assert taken_from(at, run.id, dead) is None
    execute(context, held, worker="another")
    assert lease_left(at, run.id, dead) is None
    assert taken_from(at, run.id, dead)["worker"] == "another"


def test_a_run_that_another_worker_has_ended_meanwhile_was_taken(context, account, leases):
    run, at = a_pending_run(context, account), Reach(context, account)
    assert carry_out(context, leases, run.id, worker="the second") == "succeeded"
    assert taken_from(at, run.id, "the first")["state"] == "succeeded"

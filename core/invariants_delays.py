"""What must be true once an installation has had a quiet minute; asked by core/invariants.py."""

from __future__ import annotations

from core.invariant import Invariant

DELAYS: tuple[Invariant, ...] = (
    Invariant(
        "no_lease_is_forgotten",
        "A run whose worker is lost is given back to the queue within seconds.",
        "SELECT id FROM runs WHERE state = 'running' AND lease_until < now() - interval '15 seconds'",
        "No scheduler reaps: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "nothing_waits_for_ever",
        "A due run is taken up within a minute.",
        "SELECT id FROM runs WHERE state = 'pending' AND run_at < now() - interval '60 seconds'",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
    Invariant(
        "no_backfill_stands_still",
        "A job whose time has come is moved on within a minute.",
        "SELECT id FROM jobs WHERE state IN ('pending', 'running')"
        " AND run_at < now() - interval '60 seconds'",
        "No scheduler advances it: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "no_clock_stands_still",
        "A due task is fired within a minute.",
        "SELECT task_id AS id FROM task_clocks WHERE next_run_at < now() - interval '60 seconds'",
        "No scheduler fires: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "nothing_stays_untold",
        "A delivery that is due is sent within five minutes, where the receiver answers.",
        "SELECT d.id FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id"
        " WHERE d.state IN ('pending', 'sending') AND d.run_at < now() - interval '5 minutes'"
        " AND s.consecutive_failures = 0",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
    Invariant(
        "nothing_stays_unannotated",
        "A message that is due to be annotated is taken up within five minutes.",
        "SELECT message_id AS id FROM annotations WHERE state IN ('pending', 'running')"
        " AND run_at < now() - interval '5 minutes'",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
    Invariant(
        "retention_is_started",
        "A rule of retention that is due is looked at within ten minutes.",
        "SELECT r.id FROM retention_rules r JOIN accounts a ON a.id = r.account_id WHERE a.closed_at IS NULL"
        " AND r.next_run_at < now() - interval '10 minutes'",
        "No scheduler starts it: start `crontalk scheduler`, and look at its log for retention_not_started.",
        always=False,
    ),
)

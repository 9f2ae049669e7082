"""The circuit breaker, on a clock of our own."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from core.breaker import Breaker

ADA, BO = (uuid.uuid4(), "m"), (uuid.uuid4(), "m")
PAUSE = timedelta(seconds=30)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(3, PAUSE, clock)


def fail(breaker, times, key=ADA):
    return [breaker.failed(key) for _ in range(times)]


def test_failures_in_a_row_open_the_circuit_once(breaker):
    assert fail(breaker, 4) == [False, False, True, False]
    assert breaker.admit(ADA) == PAUSE


def test_a_success_between_failures_keeps_it_closed(breaker):
    fail(breaker, 2)
    breaker.succeeded(ADA)
    fail(breaker, 2)
    assert breaker.admit(ADA) is None


def test_another_account_is_not_concerned(breaker):
    fail(breaker, 5)
    assert breaker.admit(BO) is None


def test_after_the_pause_one_caller_probes_and_the_others_wait(breaker, clock):
    fail(breaker, 3)
    clock.now = 31
    assert breaker.admit(ADA) is None
    assert breaker.admit(ADA) == PAUSE / 10
    breaker.succeeded(ADA)
    assert breaker.admit(ADA) is None
    assert breaker.admit(ADA) is None


def test_a_failed_probe_opens_it_again(breaker, clock):
    fail(breaker, 3)
    clock.now = 31
    breaker.admit(ADA)
    fail(breaker, 1)
    assert breaker.admit(ADA) == PAUSE


def test_a_cancelled_probe_frees_its_place(breaker, clock):
    fail(breaker, 3)
    clock.now = 31
    breaker.admit(ADA)
    breaker.gave_up(ADA)
    assert breaker.admit(ADA) is None

"""The process supervisor, with small Python programs as its children."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from cli.local.processes import alive, command_of
from cli.local.specs import Event, Happening, ProcessSpec
from cli.local.supervisor import LONGEST_BACKOFF, Supervisor
from core.errors import Unavailable

WAIT = "import signal\nsignal.pause()"
DEAF = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\nwhile 1: signal.pause()"
)
FORK = (
    "import os, signal\npid = os.fork()\nif pid: print(pid, flush=True)\n"
    "else: signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile 1: signal.pause()"
)


def child(name, code=WAIT, **rest):
    return ProcessSpec(name=name, argv=[sys.executable, "-I", "-S", "-c", code], env={}, **rest)


@pytest.fixture
def supervise(tmp_path):
    """A supervisor of the given children with the list of what it told; stopped at the end."""
    made = []

    def make(*specs):
        events: list[Event] = []
        made.append(Supervisor(specs, tmp_path, events.append))
        return made[-1], events

    yield make
    for supervisor in made:
        supervisor.stop()


def has_printed(tmp_path, name, word):
    log = tmp_path / f"{name}.log"
    return lambda: log.exists() and word in log.read_text()


def happenings(events, happening):
    return [event.name for event in events if event.happening is happening]


def test_children_start_in_order_and_stop_in_reverse(supervise):
    supervisor, events = supervise(child("a"), child("b"), child("c"))
    assert supervisor.start()
    pids = supervisor.processes
    assert list(pids) == ["a", "b", "c"]
    supervisor.stop()
    assert happenings(events, Happening.STARTED) == ["a", "b", "c"]
    assert happenings(events, Happening.STOPPED) == ["c", "b", "a"]
    assert not any(alive(pid) for pid in pids.values())
    assert supervisor.processes == {}


def test_a_child_starts_when_its_forerunner_is_ready(supervise, tmp_path):
    ready = has_printed(tmp_path, "a", "deaf")
    supervisor, events = supervise(
        child("a", DEAF, ready=ready, grace=timedelta(0)), child("b", prepare=lambda: order.append(ready()))
    )
    order = []
    supervisor.start()
    assert order == [True]
    assert [event.happening for event in events] == [Happening.STARTED, Happening.READY, Happening.STARTED]


def test_a_child_that_ends_before_it_is_ready_stops_the_start_with_a_sentence(supervise, tmp_path):
    supervisor, events = supervise(child("a"), child("b", "print('why')", ready=lambda: False))
    with pytest.raises(Unavailable, match=r"b ended before it was ready; see .*b\.log"):
        supervisor.start()
    assert happenings(events, Happening.STOPPED) == ["b", "a"]
    assert (tmp_path / "b.log").read_text() == "why\n"


def test_a_child_that_is_never_ready_stops_the_start_with_a_sentence(supervise):
    supervisor, _ = supervise(child("a", ready=lambda: False, ready_within=timedelta(0)))
    with pytest.raises(Unavailable, match="a was not ready in time"):
        supervisor.start()
    assert supervisor.processes == {}


def test_a_stop_asked_for_during_the_start_ends_it(supervise):
    supervisor, _ = supervise(child("a", ready=lambda: bool(supervisor.ask_to_stop())), child("b"))
    assert not supervisor.start()
    assert list(supervisor.processes) == ["a"]


def test_a_killed_child_comes_back(supervise, eventually):
    supervisor, events = supervise(child("worker"))
    supervisor.start()
    killed = supervisor.processes["worker"]
    os.kill(killed, signal.SIGKILL)

    def is_back():
        supervisor.turn()
        return supervisor.processes.get("worker", killed) != killed

    eventually(is_back)
    died = next(event for event in events if event.happening is Happening.DIED)
    assert (died.pid, died.code, died.retry_in) == (killed, -signal.SIGKILL, timedelta(seconds=0.2))


def test_a_child_that_dies_again_and_again_is_started_ever_later(supervise, eventually):
    supervisor, events = supervise(child("worker", "raise SystemExit(3)"))
    supervisor.start()

    def delays():
        supervisor.turn()
        return [event.retry_in.total_seconds() for event in events if event.happening is Happening.DIED]

    eventually(lambda: len(delays()) == 3)
    assert delays() == [0.2, 0.4, 0.8]
    worker = supervisor._children[0]
    worker.backoff, worker.start_at = 8.0, 0.0
    eventually(lambda: len(delays()) == 4)
    assert delays()[-1] == LONGEST_BACKOFF


def test_a_child_that_cannot_be_prepared_is_tried_again(supervise, eventually):
    answers = iter([None, Unavailable("not now"), None])

    def prepare():
        if answer := next(answers):
            raise answer

    supervisor, events = supervise(child("worker", prepare=prepare))
    supervisor.start()
    os.kill(supervisor.processes["worker"], signal.SIGKILL)

    def starts():
        supervisor.turn()
        return len(happenings(events, Happening.STARTED))

    eventually(lambda: starts() == 2)
    assert [event.happening for event in events[1:]] == [Happening.DIED, Happening.FAILED, Happening.STARTED]


def test_a_child_that_is_not_to_be_restarted_stays_away(supervise, eventually):
    supervisor, events = supervise(child("once", "", restart=False))
    supervisor.start()
    eventually(lambda: (supervisor.turn(), supervisor.processes)[1] == {})
    assert (events[-1].code, events[-1].retry_in) == (0, None)
    assert supervisor._children[0].start_at is None


def test_a_deaf_child_is_killed_when_its_grace_is_over(supervise, tmp_path, eventually):
    supervisor, events = supervise(child("deaf", DEAF, grace=timedelta(seconds=0.1)))
    supervisor.start()
    eventually(has_printed(tmp_path, "deaf", "deaf"))
    supervisor.stop()
    assert (events[-1].happening, events[-1].code) == (Happening.KILLED, -signal.SIGKILL)


def test_a_signal_that_arrives_twice_at_once_is_one_wish(supervise):
    supervisor, events = supervise(child("patient", "import time\ntime.sleep(60)"))
    with supervisor.signals():
        supervisor.start()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        supervisor.stop()
    assert events[-1].happening is Happening.STOPPED


def test_the_second_signal_kills_at_once(supervise, tmp_path, eventually, monkeypatch):
    monkeypatch.setattr("cli.local.supervisor.ECHO", 0.0)
    before = signal.getsignal(signal.SIGINT)
    stubborn = (
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))\n"
        "print('ready', flush=True)\nwhile 1: signal.pause()"
    )
    supervisor, events = supervise(child("stubborn", stubborn, grace=timedelta(seconds=20)))

    def lose_patience():
        eventually(has_printed(tmp_path, "stubborn", "told"))
        os.kill(os.getpid(), signal.SIGTERM)

    impatient = threading.Thread(target=lose_patience)
    with supervisor.signals():
        supervisor.start()
        eventually(has_printed(tmp_path, "stubborn", "ready"))
        os.kill(os.getpid(), signal.SIGINT)
        supervisor.run()
        impatient.start()
        began = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - began < 15
        impatient.join()
    assert (events[-1].happening, events[-1].code) == (Happening.KILLED, -signal.SIGKILL)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no death signal")
@pytest.mark.parametrize("identity", ["self", "namespace", "65534:65534"])
def test_kill_9_of_the_supervisor_takes_its_children_along(tmp_path, eventually, identity):
    if identity != "self" and os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    supervise = (
        "import pathlib, signal, sys\n"
        "from cli.local.specs import ProcessSpec\nfrom cli.local.supervisor import Supervisor\n"
        "spec = ProcessSpec(name='a', argv=['/bin/sleep', '300'], env={}, identity=sys.argv[2])\n"
        "supervisor = Supervisor([spec], pathlib.Path(sys.argv[1]))\n"
        "supervisor.start()\nprint(supervisor.processes['a'], flush=True)\nsignal.pause()"
    )
    argv = [sys.executable, "-c", supervise, str(tmp_path), identity]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        eventually(lambda: command_of(pid) == "/bin/sleep 300")
        process.kill()
    eventually(lambda: not alive(pid))


def test_nothing_of_a_childs_group_outlives_the_stop(supervise, tmp_path, eventually):
    supervisor, _ = supervise(child("parent", FORK))
    supervisor.start()
    eventually(has_printed(tmp_path, "parent", "\n"))
    grandchild = int((tmp_path / "parent.log").read_text())
    assert alive(grandchild)
    supervisor.stop()
    eventually(lambda: not alive(grandchild))


def test_nothing_of_a_dead_childs_group_outlives_it(supervise, tmp_path, eventually):
    supervisor, _ = supervise(child("parent", FORK, restart=False))
    supervisor.start()
    eventually(has_printed(tmp_path, "parent", "\n"))
    os.kill(supervisor.processes["parent"], signal.SIGKILL)
    grandchild = int((tmp_path / "parent.log").read_text())
    eventually(lambda: (supervisor.turn(), not alive(grandchild))[1])


def test_what_a_child_prints_while_it_stops_is_kept(supervise, tmp_path, eventually):
    # No handler: it could come while "ready" is still being written, and print into the middle of it.
    chatty = (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('ready', flush=True)\nsignal.sigwait({signal.SIGTERM})\n"
        "print('x' * 1_000_000 + 'end', flush=True)"
    )
    supervisor, events = supervise(child("chatty", chatty))
    supervisor.start()
    eventually(has_printed(tmp_path, "chatty", "ready"))
    supervisor.stop()
    assert events[-1].happening is Happening.STOPPED
    assert (tmp_path / "chatty.log").read_text().endswith("xend\n")


def test_a_program_that_cannot_be_started_says_so_in_its_log(supervise, tmp_path):
    missing = ProcessSpec(name="missing", argv=["/no/such/program"], env={}, ready=lambda: False)
    supervisor, _ = supervise(missing)
    with pytest.raises(Unavailable, match="ended before it was ready"):
        supervisor.start()
    assert "/no/such/program cannot be started" in (tmp_path / "missing.log").read_text()


def test_children_are_started_by_the_main_thread_alone(supervise):
    supervisor, _ = supervise(child("a"))
    raised = []

    def start():
        with pytest.raises(RuntimeError, match="main thread") as caught:
            supervisor.start()
        raised.append(caught.value)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(raised) == 1

"""Workers that a test stops in mid-call: threads that carry runs out, and the model that holds them."""

from __future__ import annotations

import queue
import threading
from datetime import timedelta

from core.chat.provider import (
    ContextTooLong,
    Finished,
    FinishReason,
    ModelMisconfigured,
    ModelQuota,
    ModelUnavailable,
    TextDelta,
)
from core.errors import RunFailed
from core.turns import carry_out

PATIENCE = 20.0


class Call(threading.Thread):
    """A worker's thread that carries one run out; `news` tells that it is in mid-call, or how it ended."""

    def __init__(self, context, leases, run_id):
        super().__init__(daemon=True)
        self.context, self.leases, self.run_id = context, leases, run_id
        self.news, self.script = queue.SimpleQueue(), queue.SimpleQueue()
        self.start()

    def run(self):
        try:
            self.news.put(carry_out(self.context, self.leases, self.run_id, worker=self.name, alone=True))
        except RunFailed as failure:
            self.news.put(str(failure))
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self.news.put(error)

    def next(self):
        return self.news.get(timeout=PATIENCE)

    def come_to(self, *outcomes):
        for outcome in outcomes:
            self.script.put(outcome)
        return self.next()


class Model:
    """Stands where the model is: says that it was asked, then waits to be told what the call comes to."""

    def __init__(self):
        self.calls = 0

    def stream(self, request, deadline):
        self.calls += 1
        call = threading.current_thread()
        if call.script.empty():
            call.news.put("in mid-call")
        for event in call.script.get(timeout=PATIENCE):
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self):
        pass


def said(words, reason=FinishReason.stop):
    return [TextDelta(words), Finished(reason, 7, 3)]


def script_of(outcome, words):
    """What each call of one attempt comes to."""
    too_long = [ContextTooLong("context_length")]
    return {
        "good": [said(words)],
        "good after half": [too_long, said(words)],
        "too long twice": [too_long, too_long],
        "cut off": [[TextDelta("Half of")]],
        "away": [[ModelUnavailable("http_503")]],
        "busy": [[ModelQuota("http_429", retry_after=timedelta(seconds=90))]],
        "busy for a day": [[ModelQuota("http_429", retry_after=timedelta(days=2))]],
        "empty": [[TextDelta(" \n"), Finished(FinishReason.stop, 7, 3)]],
        "half": [said("Half of", FinishReason.length)],
        "refused": [[Finished(FinishReason.refused, 7, 3)]],
        "misconfigured": [[ModelMisconfigured("http_401")]],
        "a bug": [[ValueError("of ours")]],
    }[outcome]

"""A language model that says what a test has it say."""

from __future__ import annotations

from core.chat.provider import Finished, FinishReason, TextDelta, ToolCall

USED = Finished(FinishReason.tool, 10, 4)


class InTurns:
    """A provider that says one list of events for each call; an exception among them is raised."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def stream(self, request, deadline):
        del deadline
        self.requests.append(request)
        for event in self.answers.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def calls(*names, **arguments):
    """The model calls these functions; with arguments, all with the same."""
    return [*(ToolCall(f"c{n}", name, arguments or {"place": name}) for n, name in enumerate(names)), USED]


def says(words):
    return [TextDelta(words), Finished(FinishReason.stop, 5, 2)]

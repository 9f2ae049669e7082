"""What the connections of an API process share, and how they end with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from fastapi import FastAPI

from api.chatbotkit.stateless import Pool
from api.generalbots.sockets import Sockets
from api.generalbots.visiting import Visits
from api.live import Ears
from api.pace import Doorkeeper
from core.context import Context
from core.visitors import Visitors


@dataclass
class Line:
    """What the connections of an event loop share."""

    context: Context
    sockets: Sockets
    doorkeeper: Doorkeeper
    ears: Ears
    visitors: Visitors
    visits: Visits
    pool: Pool

    async def close(self) -> None:
        self.visits.close()
        await self.sockets.close()
        self.pool.threads.shutdown(wait=False, cancel_futures=True)
        self.visitors.close()


@dataclass
class Lines:
    """A process has one event loop; a test may have several, and each has connections of its own."""

    app: FastAPI
    _by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = field(default_factory=WeakKeyDictionary)

    def get(self) -> Line:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            state = self.app.state
            context: Context = state.context
            visitors = Visitors(context.settings.redis_url, life=context.settings.anonymous_idle)
            self._by_loop[loop] = Line(
                context,
                Sockets(context, state.papers.get()),
                state.doorkeeper,
                state.ears,
                visitors,
                Visits(visitors),
                Pool(),
            )
        return self._by_loop[loop]

    async def close(self) -> None:
        """Ends the connections of this event loop."""
        line = self._by_loop.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.close()

"""The app: doors on one context, behind the limits and the strict headers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio.to_thread
import structlog
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.middleware import Middleware

from api import chat, chatbotkit, dashboard, docs, errors, generalbots, health, links, metrics
from api.chatbotkit.stateless import Pool
from api.generalbots import socket
from api.generalbots.lines import Lines
from api.headers import StrictAnswers
from api.limits import RequestLimits
from api.live import Ears
from api.lookup import Lookup
from api.once_more import OnceMore
from api.openapi import make_exact
from api.pace import make_doorkeeper
from api.paper import Papers
from core.context import Context
from core.privacy.detect import warm

log = structlog.get_logger()

DESCRIPTION = (
    "Runs conversations on a schedule. Timestamps are epoch milliseconds unless told otherwise;"
    " bodies are JSON objects; every error is `{message, code}`. The same routes answer below `/v1`."
    " The conversations API speaks another dialect: ISO 8601, and errors that are `{error, message}`."
)


class _App(FastAPI):
    """Makes its document once, exact, whoever asks at once."""

    exact: dict[str, Any] | None = None
    making = threading.Lock()

    def openapi(self) -> dict[str, Any]:
        with self.making:
            if self.exact is None:
                self.exact = make_exact(super().openapi(), _endpoints(self), chatbotkit.PREFIXES[0])
        return self.exact


def _endpoints(app: FastAPI) -> dict[tuple[str, str], Callable[..., Any]]:
    found = {}
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            if route.path and route.endpoint:
                found[method.lower(), route.path] = route.endpoint
    return found


def make_app(context: Context) -> FastAPI:
    """The API on a context, which is closed when the app ends."""
    app = _App(
        title="Crontalk",
        version=version("crontalk"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        lifespan=_lifespan,
        middleware=[
            Middleware(StrictAnswers),
            Middleware(RequestLimits, max_body=context.settings.max_body),
            Middleware(OnceMore),
        ],
    )
    app.state.context = context
    app.state.ears = Ears(context.settings)
    app.state.papers = Papers(context.settings.redis_url)
    app.state.stateless = Pool()
    app.state.doorkeeper = make_doorkeeper(context.settings)
    app.state.lines = Lines(app)
    errors.install(app)
    app.include_router(socket.router)  # the framework asks one route after the other for a WebSocket
    for prefix in chatbotkit.PREFIXES:
        documented = prefix == chatbotkit.PREFIXES[0]
        app.include_router(chatbotkit.make_router(), prefix=prefix, include_in_schema=documented)
    app.include_router(generalbots.make_router())
    app.include_router(chat.router, include_in_schema=False)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(links.router, include_in_schema=False)
    app.include_router(_spec(app), include_in_schema=False)
    app.include_router(docs.router, include_in_schema=False)
    app.include_router(dashboard.make_router(), include_in_schema=False)
    app.state.lookup = Lookup(app.router.middleware_stack, lambda: iter_route_contexts(app.routes))
    app.router.middleware_stack = app.state.lookup
    return app


def _operation_id(route: APIRoute) -> str:
    """`create_task`, not `create_task_api_v1_task_create_post`: the names generated clients show."""
    return route.name


def _spec(app: FastAPI) -> APIRouter:
    router = APIRouter()

    async def spec() -> JSONResponse:
        return JSONResponse(app.openapi())

    for path in ("/openapi.json", *(f"{prefix}/spec" for prefix in chatbotkit.PREFIXES)):
        router.add_api_route(path, spec, methods=["GET"])
    return router


def _get_ready(context: Context) -> None:
    context.publisher.get_ready()
    warm()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """As many threads as database connections at most: a thread more would only wait for one."""
    context: Context = app.state.context
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = min(limiter.total_tokens, context.settings.pool_size)
    # In the background: the first turn waits for it at most, and whoever asks for none does not.
    threading.Thread(target=_get_ready, args=(context,), name="publisher", daemon=True).start()
    log.info("api_started", host=context.settings.host, port=context.settings.port)
    try:
        yield
    finally:
        await app.state.lines.close()
        await app.state.papers.close()
        await app.state.ears.close()
        app.state.stateless.threads.shutdown(wait=False, cancel_futures=True)
        app.state.doorkeeper.rates.close()
        await anyio.to_thread.run_sync(context.close)
        log.info("api_stopped")

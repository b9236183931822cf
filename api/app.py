"""The API as one ASGI app: REST routes, Socket.IO beside them, and the tasks that run as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from api.documentation.describing import described
from api.errors import add_handlers
from api.following import Following
from api.guard import Guard
from api.live import Live
from api.origins import ANYONE, Origins
from api.previews import Previews
from api.reconciling import keep_reconciled
from api.request_log import HEADER, RequestLog
from api.routes import (
    accounts,
    avatars,
    dashboard,
    documentation,
    files,
    following,
    generations,
    library,
    metrics,
    operations,
    page,
    pose_requests,
    poses,
    projects,
    recovery,
    usage,
)
from api.service import Service, open_service
from api.sockets import Sockets
from models.profiles import profile
from posegen.channel import Channel, PreviewChannel
from posegen.settings import Settings
from posegen.upkeep import Upkeep

ROUTES = (
    accounts,
    avatars,
    dashboard,
    documentation,
    files,
    following,
    generations,
    library,
    metrics,
    operations,
    page,
    pose_requests,
    poses,
    projects,
    recovery,
    usage,
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(settings: Settings) -> ASGIApp:
    """Return the app. Nothing is connected before its lifespan starts. Raises UnknownProfile for a wrong PROFILE."""
    if settings.profile:
        profile(settings.profile)
    service = open_service(settings)
    live = Live(service.database, service.links, Channel(settings.bell_url))
    origins = Origins(settings.cors_origin)
    previews = Previews(PreviewChannel(settings.bell_url))
    sockets = Sockets(service, live, origins, previews)
    app = routed_app(_lifespan(service, live, sockets, previews))
    app.state.service = service
    app.state.following = Following(service, live, origins)
    add_handlers(app)
    app.add_middleware(Guard)
    app.add_middleware(
        CORSMiddleware,  # around the guard, so that a page may read refusals too
        allow_origins=[ANYONE] if origins.anyone else [],
        allow_origin_regex=origins.pattern,
        allow_credentials=not origins.anyone,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", HEADER],
        expose_headers=[*("Content-Disposition", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", HEADER)],
    )
    app.add_middleware(RequestLog)
    return sockets.beside(app)


def routed_app(lifespan: Lifespan | None = None) -> FastAPI:
    """Return the app's routes and their document. It needs no settings; without a service it can only be described."""
    app = DocumentedApp(title="Posegen", version=version("posegen"), docs_url=None, redoc_url=None, lifespan=lifespan)
    for routes in ROUTES:
        app.include_router(routes.router)
    return app


class DocumentedApp(FastAPI):
    """FastAPI's app, with the document that api.documentation makes of it at /openapi.json."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made at the first call."""
        if self.openapi_schema is None:
            self.openapi_schema = described(self)
        return self.openapi_schema


def _lifespan(service: Service, live: Live, sockets: Sockets, previews: Previews) -> Lifespan:
    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(live.listen(), name="listen"),
            asyncio.create_task(live.look(), name="look"),
            asyncio.create_task(sockets.close_strangers(), name="strangers"),
            asyncio.create_task(
                keep_reconciled(
                    service.announcer,
                    Upkeep(service.database, service.storage, keep=service.settings.kept_for),
                    every_s=service.settings.recover_every_s,
                ),
                name="reconcile",
            ),
        ]
        if service.settings.previews:
            tasks.append(asyncio.create_task(previews.listen(), name="previews"))
        try:
            yield
        finally:
            await _end(tasks)
            await sockets.close()
            # A cancelled task leaves its thread behind, still in the middle of a transaction.
            await asyncio.get_running_loop().shutdown_default_executor()
            service.close()

    return running


async def _end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they are over: a library that takes a cancellation for a timeout must not keep the process."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _done, left = await asyncio.wait(left, timeout=1.0)

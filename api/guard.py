"""The layer around every HTTP request: a limit on its body, and an end for whatever escapes.

A parameter of the address without a value says nothing, as forms send it for what was not chosen: it is left out here.

An unexpected error is logged with the request's id and answered with that id and nothing else. It is a plain ASGI
layer, because a body must be counted while it arrives and an answer that has begun cannot be replaced.
"""

from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import UNEXPECTED, problem
from api.request_log import current_request_id, route_of
from api.routes import AVATAR_CREATOR, POSE_GENERATOR
from posegen.uploads import MOST_BYTES

log = structlog.get_logger()

MOST_BODY_BYTES = 1024 * 1024
"""A JSON body of an order with 50 inline poses of several people is well below this."""
MOST_UPLOAD_BYTES = MOST_BYTES + 64 * 1024
"""A photo with the form around it. JSON is never so large: ten megabytes of it stop the event loop for a second."""
UPLOAD_PATHS = (AVATAR_CREATOR, f"{POSE_GENERATOR}/poses/detect")


class Guard:
    """Wraps the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; never raises for HTTP."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        try:
            await request.run(self.app)
        finally:
            scope["route"] = request.scope.get("route")  # for the layer around this one, which sees another scope


class _Request:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = {**scope, "query_string": _with_values(scope["query_string"])}
        self._receive = receive
        self._send = send
        self.started = False
        self.received_bytes = 0
        self.most_bytes = MOST_UPLOAD_BYTES if _may_be_upload(scope) else MOST_BODY_BYTES
        self.too_large = f"The body is larger than {self.most_bytes // 1024} KiB."

    async def run(self, app: ASGIApp) -> None:
        refusal = self._refusal()
        if refusal is not None:
            await refusal(self.scope, self._receive, self.send)
            return
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            log.exception("request.failed", route=route_of(self.scope))
            if self.started:
                raise  # half an answer cannot be mended; the server closes the connection
            facts = {"requestId": current_request_id()}
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", UNEXPECTED, facts=facts)
            del error
            await answer(self.scope, self._receive, self.send)

    async def receive(self) -> Message:
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        if self.received_bytes > self.most_bytes:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self.too_large)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers.setdefault("X-Content-Type-Options", "nosniff")
        await self._send(message)

    def _refusal(self) -> ASGIApp | None:
        length = Headers(scope=self.scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self.most_bytes:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_entity_too_large", self.too_large)
        if "\0" in self.scope["path"]:
            return problem(HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address.")
        if b"%00" in self.scope["query_string"] or b"\0" in self.scope["query_string"]:
            # PostgreSQL keeps no NUL in a text, so no value with one can ever match.
            return problem(HTTPStatus.BAD_REQUEST, "bad_input", "The address holds a NUL character; leave it out.")
        return None


def _with_values(query: bytes) -> bytes:
    """Return the query without the parameters that are empty."""
    return b"&".join(part for part in query.split(b"&") if part.partition(b"=")[2])


def _may_be_upload(scope: Scope) -> bool:
    is_form = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data")
    return is_form and scope["path"].startswith(UPLOAD_PATHS)

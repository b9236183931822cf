"""The refusals of an operation as OpenAPI responses, each told by the error that makes it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from api.errors import MEDIA_TYPE, UNEXPECTED, Unauthenticated, problem, problem_of
from posegen.errors import DatabaseAway

Response = dict[str, Any]


class FieldRefused(BaseModel):
    """One refused field."""

    field: str = Field(description="As it was sent: `selectedPoseIds[2]`, `limit`, `body`")
    message: str


class Problem(BaseModel):
    """A refusal (RFC 9457). Show `message`; branch on `code`, which never changes."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str = Field(description="One sentence for a person, which says what to do")
    error: str = Field(description="The same sentence, where older clients read it")
    errors: list[FieldRefused] | None = Field(default=None, description="Every refused field")
    request_id: str | None = Field(default=None, description="Of an unexpected error; name it to your operator")
    retry_after: int | None = Field(default=None, description="Seconds to wait before the next try")
    required: int | None = Field(default=None, description="Credits or pictures that the order needs")
    balance: int | None = Field(default=None, description="Credits that are left")
    remaining: int | None = Field(default=None, description="Pictures that are left of today's quota")
    daily_quota: int | None = Field(default=None, description="Pictures a day of the unlimited tier")
    reset_at: str | None = Field(default=None, description="When the quota starts anew")


TOO_LARGE_A_BODY: Final = HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 1024 KiB.")
NO_LOGIN: Final = Unauthenticated()
DATABASE_AWAY: Final = DatabaseAway()
UNEXPECTED_ERROR: Final = RuntimeError("unexpected")
SHARED: Final[Mapping[str, Exception]] = {
    "NoLogin": NO_LOGIN,
    "TooLargeABody": TOO_LARGE_A_BODY,
    "Unexpected": UNEXPECTED_ERROR,
    "DatabaseAway": DATABASE_AWAY,
}
"""Told once, under `components`, and referred to where one of them is an operation's only one of its status."""
_MEANINGS: Final[Mapping[type[Exception], str]] = {
    HTTPException: "The body is too large.",
    RuntimeError: "Something unexpected; it is logged under its request id.",
}


def refused(errors: Iterable[Exception]) -> dict[str, Response]:
    """Return the responses of an operation that can make these errors, by status."""
    by_status: dict[str, list[Exception]] = {}
    for error in errors:
        by_status.setdefault(str(_body(error)["status"]), []).append(error)
    return {status: _referred(together) or response(together) for status, together in sorted(by_status.items())}


def response(errors: Sequence[Exception]) -> Response:
    """Return one response that stands for any of these errors, which share a status."""
    examples: dict[str, Any] = {}
    headers: set[str] = {"X-Request-Id"}
    for error in errors:
        body = _body(error)
        examples.setdefault(body["code"], {"summary": body["title"], "value": body})
        if not isinstance(error, HTTPException | RuntimeError):
            headers |= {name for name in HEADERS if name.lower() in problem_of(error).headers}
    return {
        "description": " ".join(dict.fromkeys(_meaning(error) for error in errors)),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(headers)},
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


def _referred(errors: Sequence[Exception]) -> Response | None:
    name = next((name for name, error in SHARED.items() if [error] == errors), None)
    return None if name is None else {"$ref": f"#/components/responses/{name}"}


def _body(error: Exception) -> dict[str, Any]:
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        answer = problem(status, status.name.lower(), error.detail)
    elif isinstance(error, RuntimeError):
        facts = {"requestId": "01a20bbd-2911-7c53-9d3e-0b3f6a5a4b77"}
        answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", UNEXPECTED, facts=facts)
    else:
        answer = problem_of(error)
    body: dict[str, Any] = json.loads(bytes(answer.body))
    return body


def _meaning(error: Exception) -> str:
    """Return what the error's class says of itself, its first sentence."""
    told = _MEANINGS.get(type(error)) or (type(error).__doc__ or "").partition("\n")[0]
    return told.partition(". ")[0].partition("; `")[0].rstrip(".") + "."


HEADERS: Final[Mapping[str, Response]] = {
    "Cache-Control": {"description": "How long the answer may be kept.", "schema": {"type": "string"}},
    "ETag": {
        "description": "Stands for this content; send it back as If-None-Match and be answered 304.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the new thing is read.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": "What is left of each rate: `r` tries, the oldest leaves the window in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"orders";r=4;t=60, "pictures";r=598;t=60',
    },
    "RateLimit-Policy": {
        "description": "The rates that this call counts against: `q` tries in any `w` seconds.",
        "schema": {"type": "string"},
        "example": '"orders";q=5;w=60, "pictures";q=600;w=60',
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "Always `Bearer`.", "schema": {"type": "string"}},
    "X-Request-Id": {
        "description": "The id of this request in the service's logs: yours, if you sent one that is fit for a log.",
        "schema": {"type": "string"},
    },
}
"""Headers of answers, told once."""

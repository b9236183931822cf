"""What every refusal looks like on the wire, and which HTTP status each error of the domain means.

One form for all: `application/problem+json` (RFC 9457) that also carries what the frontend reads (`message`, and the
same sentence as `error`). STATUSES names every class of the domain's tree; a test fails for one that is not in it.

    ApiError
    ├── Unauthenticated      no login, or one that is not good any more
    ├── Forbidden            logged in, but not allowed
    └── TooManyRequests      over a rate; says when to come back
"""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.field_problems import field_problem_of
from api.request_log import route_of
from api.wire.base import iso
from models.errors import UnknownProfile
from posegen import errors as domain
from posegen.backup import BackupUnfit
from posegen.dumps import DumpFailed, NotWiped
from posegen.errors import FieldProblem
from posegen.poses import errors as poses
from posegen.private_redis import RedisNotStarted, RedisServerMissing

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
TRY_AGAIN_S = 5
"""What a client is told to wait when a part of the service is away."""
UNEXPECTED = "Something went wrong on our side; nothing more is known here. Please try again, and name the request id."


class ApiError(Exception):
    """Root of the refusals that only exist on the wire."""

    code = "api_error"


class Unauthenticated(ApiError):
    """There is no login, or it is not good any more."""

    code = "unauthenticated"

    def __init__(self, message: str = "Please log in.") -> None:
        super().__init__(message)


class Forbidden(ApiError):
    """The login is good, but does not allow this."""

    code = "forbidden"

    def __init__(self, message: str = "Only an administrator may do this.") -> None:
        super().__init__(message)


class TooManyRequests(ApiError):
    """Over a rate; `retry_after_s` is when something of it comes free, `headers` tell the rates."""

    code = "too_many_requests"

    def __init__(self, retry_after_s: float, headers: Mapping[str, str] | None = None) -> None:
        self.headers = dict(headers or {})
        self.retry_after_s = max(1, math.ceil(retry_after_s))
        super().__init__(f"That was too often; please try again in {self.retry_after_s} seconds.")


STATUSES: Mapping[type[Exception], HTTPStatus] = {
    domain.PosegenError: HTTPStatus.INTERNAL_SERVER_ERROR,
    domain.BadInput: HTTPStatus.BAD_REQUEST,
    domain.NotAvailableYet: HTTPStatus.BAD_REQUEST,
    domain.WordingRefused: HTTPStatus.BAD_REQUEST,
    domain.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    domain.UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    domain.NotFound: HTTPStatus.NOT_FOUND,
    domain.Conflict: HTTPStatus.CONFLICT,
    domain.EmailTaken: HTTPStatus.CONFLICT,
    domain.PosesNotFollowed: HTTPStatus.CONFLICT,
    domain.LoginRefused: HTTPStatus.UNAUTHORIZED,
    domain.NotEnoughCredits: HTTPStatus.PAYMENT_REQUIRED,
    domain.QuotaExceeded: HTTPStatus.FORBIDDEN,
    domain.IdempotencyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    domain.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.DatabaseAway: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.OutcomeUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.BellAway: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.StorageAway: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.NoProfileKnown: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.NoDetector: HTTPStatus.SERVICE_UNAVAILABLE,
    domain.TooBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    RedisServerMissing: HTTPStatus.SERVICE_UNAVAILABLE,
    RedisNotStarted: HTTPStatus.SERVICE_UNAVAILABLE,
    poses.PoseError: HTTPStatus.BAD_REQUEST,
    poses.PoseRefused: HTTPStatus.BAD_REQUEST,
    BackupUnfit: HTTPStatus.BAD_REQUEST,  # these three are the command's; no route keeps or restores anything
    NotWiped: HTTPStatus.CONFLICT,
    DumpFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    poses.MapSizeRefused: HTTPStatus.BAD_REQUEST,
    poses.PoseFileRefused: HTTPStatus.INTERNAL_SERVER_ERROR,  # a broken installation, not a broken request
    poses.SheetRefused: HTTPStatus.BAD_REQUEST,
    UnknownProfile: HTTPStatus.SERVICE_UNAVAILABLE,  # the operator's PROFILE, or a worker newer than this API
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
}
"""The status of every error; exact classes, so that a new one is a decision."""


def problem(
    status: int,
    code: str,
    message: str,
    *,
    problems: Sequence[FieldProblem] = (),
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a refusal in the house's one form."""
    body: dict[str, Any] = {
        "type": f"urn:posegen:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": int(status),
        "detail": message,
        "code": code,
        "message": message,
        "error": message,
        **(facts or {}),
    }
    if problems:
        body["errors"] = [{"field": one.field, "message": one.message} for one in problems]
    return JSONResponse(body, status_code=int(status), headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> JSONResponse:
    """Return the refusal that an error of the domain or of this package stands for."""
    status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    code = str(getattr(error, "code", "error"))
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem(status, "internal_error", UNEXPECTED)
    problems: Sequence[FieldProblem] = error.problems if isinstance(error, domain.BadInput) else ()
    if isinstance(error, poses.PoseRefused):
        problems = [FieldProblem(field=error.field, message=str(error))]
    if isinstance(error, poses.MapSizeRefused):
        problems = [FieldProblem(field="width", message=str(error))]
    return problem(status, code, str(error), problems=problems, facts=_facts(error), headers=_headers(error, status))


def add_handlers(app: FastAPI) -> None:
    """Make every refusal of the app, expected or not, leave in the one form."""
    for root in (domain.PosegenError, poses.PoseError, UnknownProfile, ApiError):
        app.add_exception_handler(root, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(HTTPException, _refuse_http)


def _facts(error: Exception) -> dict[str, Any]:
    if isinstance(error, domain.NotEnoughCredits):
        return {"required": error.required, "balance": error.balance}
    if isinstance(error, domain.QuotaExceeded):
        return {
            "required": error.required,
            "remaining": error.remaining,
            "dailyQuota": error.daily_quota,
            "resetAt": iso(error.resets_at),
        }
    if isinstance(error, TooManyRequests):
        return {"retryAfter": error.retry_after_s}
    if isinstance(error, domain.NoDetector):
        return {"retryAfter": TRY_AGAIN_S, "reasons": list(error.reasons), "operatorHint": error.to_do}
    if isinstance(error, domain.Unavailable):
        return {"retryAfter": TRY_AGAIN_S}
    return {}


def _headers(error: Exception, status: HTTPStatus) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after_s), **error.headers}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(TRY_AGAIN_S)}
    return {}


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    answer = problem_of(error)
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.refused", route=route_of(request.scope), error=type(error).__name__, sentence=str(error))
    return answer


async def _refuse_fields(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [field_problem_of(one) for one in error.errors()]
    message = " ".join(one.message if one.field == "body" else f"{one.field}: {one.message}" for one in problems)
    return problem(HTTPStatus.BAD_REQUEST, domain.BadInput.code, message, problems=problems)


async def _refuse_http(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    code = status.name.lower()
    sentence = _SENTENCES.get(status) or (error.detail if isinstance(error.detail, str) else status.phrase)
    return problem(status, code, sentence, headers=error.headers)


_SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method.",
    HTTPStatus.BAD_REQUEST: "The body could not be read; send JSON in UTF-8, or a form with its boundary.",
}

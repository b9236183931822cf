"""Turning FastAPI's document into the one that is published: names, examples, refusals and headers added."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.documentation import accounts, avatars, dashboard, generations, library, poses, projects, usage
from api.documentation.operation import Operation
from api.documentation.refusals import (
    DATABASE_AWAY,
    HEADERS,
    NO_LOGIN,
    SHARED,
    TOO_LARGE_A_BODY,
    UNEXPECTED_ERROR,
    Problem,
    refused,
    response,
)
from api.field_problems import MISSING, NO_OBJECT
from posegen.errors import BadInput, FieldProblem

Document = dict[str, Any]

OPERATIONS: Final[Mapping[str, Operation]] = {
    name: operation
    for table in (accounts, avatars, dashboard, generations, library, poses, projects, usage)
    for name, operation in table.OPERATIONS.items()
}
"""Every operation that is described, by method and path."""
TAGS: Final[Mapping[str, str]] = {
    "accounts": "Logging in, one's own profile, and what changed the balance of credits.",
    "avatars": "Photos of people and what is known of their looks. Photos come as multipart forms.",
    "projects": "Where orders are kept together, each project around one avatar.",
    "library": "Poses to choose from, their categories, and wishes for poses that are missing.",
    "poses": "Key-points in and out: any dialect of OpenPose JSON, or words. Left and right are the person's own.",
    "generations": "Ordering pictures, following, reading and cancelling an order. Live events come over Socket.IO.",
    "usage": "What a customer has and has used: favourites, credits and quota, numbers.",
    "dashboard": "What the surrounding studio's frontend shows at a glance.",
    "files": "Stored pictures by their signed links, which open in an `<img>` tag and expire.",
    "operations": "What operators ask.",
}
"""The tags in reading order."""
DESCRIPTION: Final = """\
- **Login**: `POST /api/auth/login`, then `Authorization: Bearer <token>`. Only login, registration, health and signed
  links to pictures need none.
- **Spelling**: camelCase JSON, times in ISO 8601 UTC, null where nothing is known. Unknown fields of a body
  are ignored.
- **Refusals** are `application/problem+json`: `message` is one sentence for a person, `code` is for programs, `errors`
  names every refused field.
- **Links** to pictures are signed and expire; read the picture's answer again for a fresh one. They begin with `/`
  unless the service has a `PUBLIC_BASE_URL`.
- **Live events** come over Socket.IO; `docs/frontend.md` tells of them, with a whole example.
"""
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def described(app: FastAPI) -> Document:
    """Return the published OpenAPI document of the app. Depends on its routes only."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="Pictures of an avatar in chosen poses, drawn on your own cards",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": told} for name, told in TAGS.items()],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document["components"]
    for path, operations in document["paths"].items():
        for method, told in operations.items():
            _describe(told, OPERATIONS.get(f"{method.upper()} {path}"), components["schemas"])
    for name in _FASTAPIS_OWN:
        components["schemas"].pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"].update(problem.pop("$defs"))
    components["schemas"]["Problem"] = problem
    components["headers"] = deepcopy(dict(HEADERS))
    components["responses"] = {name: response([error]) for name, error in SHARED.items()}
    return document


def _describe(told: dict[str, Any], operation: Operation | None, schemas: Mapping[str, Any]) -> None:
    """Add to one operation what its table says, and the refusals that its shape implies."""
    responses = told["responses"]
    responses.pop("422", None)  # FastAPI's own refusal of fields, which is a 400 here
    summary, _, more = told.get("description", told["summary"]).partition("\n")
    told["summary"] = summary.rstrip(".")
    told["description"] = " ".join([summary, *more.split()]).strip()
    if operation is None:
        return
    told["operationId"] = operation.id
    for parameter in told.get("parameters", ()):
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
            parameter["schema"].pop("description", None)
    answer = next(responses[status] for status in responses if status.startswith("2"))
    answer["description"] = _title(answer, schemas)
    answer["headers"] = {
        name: {"$ref": f"#/components/headers/{name}"} for name in sorted({"X-Request-Id", *operation.headers})
    }
    if operation.answer is not None:
        answer["content"]["application/json"]["example"] = deepcopy(operation.answer)
    for content in told.get("requestBody", {}).get("content", {}).values():
        content["examples"] = {name: {"value": deepcopy(body)} for name, body in (operation.requests or {}).items()}
    for status, refusal in refused([*_implied(told, operation, schemas), *operation.refuses]).items():
        responses.setdefault(status, refusal)
    told["responses"] = dict(sorted(responses.items()))


def _title(answer: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """Return what the answer is, in the words of its shape."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return str(schemas.get(name, {}).get("description") or answer["description"])


def _implied(told: Mapping[str, Any], operation: Operation, schemas: Mapping[str, Any]) -> list[Exception]:
    errors: list[Exception] = [UNEXPECTED_ERROR]
    if "security" in told:
        errors.append(NO_LOGIN)
    if operation.reads_database:
        errors.append(DATABASE_AWAY)
    asked = [one for one in told.get("parameters", ()) if one["in"] != "path" and one["name"] != "If-None-Match"]
    contents = told.get("requestBody", {}).get("content", {})
    if contents:
        errors.append(TOO_LARGE_A_BODY)
        errors.append(_refused_field(next(iter(contents.values()))["schema"], schemas))
    elif asked:
        errors.append(_refused_parameter(asked))
    return errors


def _refused_parameter(asked: Sequence[Mapping[str, Any]]) -> BadInput:
    for one in asked:
        if "maximum" in one["schema"]:
            return _bad_field(one["name"], f"The most is {one['schema']['maximum']}.")
    return _bad_field(asked[0]["name"], "Send text.")


def _refused_field(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> BadInput:
    shape = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    needed = shape.get("required", ())
    if needed:
        return _bad_field(needed[0], MISSING)
    return BadInput(NO_OBJECT, [FieldProblem(field="body", message=NO_OBJECT)])


def _bad_field(field: str, message: str) -> BadInput:
    return BadInput(f"{field}: {message}", [FieldProblem(field=field, message=message)])

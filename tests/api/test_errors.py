"""Every refusal has one form and a status that somebody chose."""

import asyncio
import importlib
import json
import pkgutil
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from support.serving import ROOT, Served

import posegen
from api.errors import STATUSES, ApiError, problem_of
from api.guard import MOST_BODY_BYTES, Guard
from api.request_log import RequestLog
from models.errors import UnknownProfile
from posegen.errors import BadInput, DatabaseAway, FieldProblem, NotEnoughCredits, PosegenError
from posegen.poses.errors import PoseError, PoseFileRefused, PoseRefused

ROOTS = (PosegenError, PoseError, ApiError)


def every_error() -> set[type[Exception]]:
    for module in pkgutil.walk_packages(posegen.__path__, "posegen."):
        if not module.name.startswith("posegen.migrations") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {UnknownProfile, *(kind for root in ROOTS for kind in below(root))} - {ApiError}


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def unmapped() -> set[str]:
    return {kind.__qualname__ for kind in every_error() if kind not in STATUSES and "test" not in kind.__module__}


def body_of(error: Exception) -> Any:
    return json.loads(bytes(problem_of(error).body))


def test_every_error_of_the_domain_has_a_status() -> None:
    assert unmapped() == set()


def test_an_error_without_a_status_is_noticed() -> None:
    kind = type("Forgotten", (BadInput,), {"__module__": "posegen.forgotten"})

    assert unmapped() == {"Forgotten"}
    del kind


def test_a_refusal_tells_its_sentence_and_its_facts() -> None:
    told = body_of(NotEnoughCredits(required=120, balance=30))

    assert told["message"] == told["error"] == told["detail"] == "This order costs 120 credits and your balance is 30."
    assert (told["status"], told["code"], told["required"], told["balance"]) == (402, "not_enough_credits", 120, 30)
    assert (told["type"], told["title"]) == ("urn:posegen:problem:not_enough_credits", "Not enough credits")


def test_a_refusal_names_every_refused_field() -> None:
    told = body_of(
        BadInput("Two things.", [FieldProblem(field="a", message="A."), FieldProblem(field="b", message="B.")])
    )

    assert told["errors"] == [{"field": "a", "message": "A."}, {"field": "b", "message": "B."}]


def test_refused_key_points_name_their_place() -> None:
    assert body_of(PoseRefused("people[0]", "is nobody"))["errors"][0]["field"] == "people[0]"


def test_a_part_that_is_away_says_when_to_come_back() -> None:
    answer = problem_of(DatabaseAway())

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_broken_installation_tells_no_paths(tmp_path: Any) -> None:
    told = body_of(PoseFileRefused(tmp_path / "secret.toml", "x", "is bad"))

    assert (told["status"], told["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(told)


def test_an_unknown_address_is_refused_in_the_same_form(sqlite_served: Served) -> None:
    answer = sqlite_served.client().get("/api/nothing")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["message"] == answer.json()["error"] == "There is nothing at this address."


def test_a_wrong_method_is_refused_in_the_same_form(sqlite_served: Served) -> None:
    answer = sqlite_served.client().delete("/api/auth/login")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("content", "content_type", "field"),
    [
        (b"{bad", "application/json", "body"),
        (b"", "application/json", "body"),
        (b"[1, 2]", "application/json", "body"),
        (b'"text"', "application/json", "body"),
        (b"null", "application/json", "body"),
        (b'{"email": "a@b.example", "password": "x"}', "text/plain", "body"),
        (b"{}", "application/json", "email"),
    ],
)
def test_a_body_that_is_no_json_object_is_400(
    sqlite_served: Served, content: bytes, content_type: str, field: str
) -> None:
    answer = sqlite_served.client().post("/api/auth/login", content=content, headers={"Content-Type": content_type})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b'{"email": ' + b"[" * 100_000, b'{"email": ' + b"9" * 5000 + b"}"])
def test_a_body_that_breaks_the_parser_is_400(sqlite_served: Served, content: bytes) -> None:
    answer = sqlite_served.client().post(
        "/api/auth/login", content=content, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_body_that_says_it_is_too_large_is_413(sqlite_served: Served) -> None:
    answer = sqlite_served.client().post("/api/auth/login", content=b" " * (MOST_BODY_BYTES + 1))

    assert answer.status_code == 413
    assert answer.json()["message"] == "The body is larger than 1024 KiB."


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_only_a_form_may_be_as_large_as_a_photo(sqlite_served: Served, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = b" " * (MOST_BODY_BYTES + 1)

    answer = sqlite_served.client(**headers).put("/api/apps/avatar-creator/avatars/x", content=body)

    assert answer.status_code == 413


def test_a_body_that_turns_out_too_large_is_413(sqlite_served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 65536 + 1):
            yield b" " * 65536

    answer = sqlite_served.client().post(
        "/api/auth/login", content=pieces(), headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


@pytest.mark.parametrize(("path", "status"), [("/library/a%00b", 404), ("/library?search=a%00", 400)])
def test_an_address_with_a_nul_character_is_refused(served: Served, path: str, status: int) -> None:
    answer = served.client("ann").get(f"{ROOT}{path}")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_an_unexpected_error_tells_its_request_id_and_nothing_else() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("the password is hunter2")

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(RequestLog(Guard(broken))), base_url="http://api"
        ) as client:
            return await client.get("/")

    answer = asyncio.run(ask())

    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text


def test_every_answer_has_a_request_id_of_its_own(sqlite_served: Served) -> None:
    client = sqlite_served.client()

    assert client.get("/").headers["x-request-id"] != client.get("/").headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("walk-7:a.b_c", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ('"quoted"', False), ("", False)],
)
def test_a_callers_request_id_is_kept_if_it_is_fit_for_a_log(sqlite_served: Served, given: str, is_kept: bool) -> None:
    """Refusals have it too, those of the browser's own questions before a request (CORS) included."""
    client = sqlite_served.client()
    origin = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    for method, path in (("GET", "/"), ("GET", "/nothing"), ("OPTIONS", f"{ROOT}/generate")):
        answer = client.request(method, path, headers={"X-Request-ID": given, **origin})
        assert (answer.headers["x-request-id"] == given) is is_kept

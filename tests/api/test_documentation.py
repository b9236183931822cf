"""The API's documentation is true: the committed document, its examples, and the page that shows it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from support.house import House
from support.serving import ROOT, Served

from api.app import routed_app
from api.documentation.describing import OPERATIONS, TAGS

HOUSE = Path(__file__).parents[2]
FILE = HOUSE / "docs" / "openapi.json"
WRITE_IT = "run .venv/bin/python scripts/write_openapi.py and commit docs/openapi.json"
PRINT_IT = "import sys, write_openapi; assert 'torch' not in sys.modules; print(write_openapi.openapi_text(), end='')"

Document = Mapping[str, Any]
Told = Mapping[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    return json.loads(json.dumps(routed_app().openapi()))


def operations(document: Document) -> Iterator[tuple[str, Told]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"{method.upper()} {path}", told


def strict(document: Document) -> dict[str, Any]:
    """The document with every object closed: a field that its shape does not name is then a mistake."""
    closed = deepcopy(dict(document))
    for name, schema in closed["components"]["schemas"].items():
        if "properties" in schema and name != "Problem":
            schema["additionalProperties"] = False
    return closed


def mistakes(document: Document, schema: Any, value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    found = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def resolved(document: Document, told: Told) -> Told:
    name = told.get("$ref", "").rpartition("/")[2]
    return document["components"]["responses"][name] if name else told


def examples(document: Document) -> Iterator[tuple[str, Any, Any]]:
    """Every example, with where it stands and the schema that it must fit."""
    for name, told in operations(document):
        bodies = {"body": told.get("requestBody", {}), **told["responses"]}
        for where, one in bodies.items():
            for content in resolved(document, one).get("content", {}).values():
                values = [example["value"] for example in content.get("examples", {}).values()]
                values += [content["example"]] if "example" in content else []
                for value in values:
                    yield f"{name} {where}", content["schema"], value


def shape(value: Any) -> Any:
    """The names in an answer, without its values. Free-form objects and null say nothing."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list) and value:
        return [shape(value[0])]
    return None


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{path}.{name}" for name in sorted(set(ours) ^ set(theirs))]
        return found + [d for name in ours if name in theirs for d in differences(ours[name], theirs[name], name)]
    if isinstance(ours, list) and isinstance(theirs, list):
        return differences(ours[0], theirs[0], f"{path}[]")
    return []


def test_the_committed_document_is_what_any_machine_writes(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": f"{HOUSE}:{HOUSE / 'scripts'}", "PROFILE": "nonsense", "PYTHONHASHSEED": "7"}
    written = subprocess.run(
        [sys.executable, "-c", PRINT_IT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert FILE.read_text(encoding="utf-8") == written.stdout, WRITE_IT


def test_a_running_service_answers_the_committed_document(sqlite_served: Served) -> None:
    assert sqlite_served.client().get("/openapi.json").json() == json.loads(FILE.read_text()), WRITE_IT


def test_every_operation_is_described_and_nothing_else(document: Document) -> None:
    assert sorted(name for name, _ in operations(document)) == sorted(OPERATIONS), "see api/documentation"


def test_operations_have_names_that_clients_can_use(document: Document) -> None:
    ids = [told["operationId"] for _, told in operations(document)]

    assert [name for name in ids if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)] == []
    assert len(set(ids)) == len(ids)


def test_every_tag_is_described_and_used(document: Document) -> None:
    assert {tag for _, told in operations(document) for tag in told["tags"]} == set(TAGS)


def test_every_json_body_and_answer_has_an_example(document: Document) -> None:
    bare = [
        f"{name} {where}"
        for name, told in operations(document)
        for where, one in {"body": told.get("requestBody", {}), **told["responses"]}.items()
        for content in resolved(document, one).get("content", {}).values()
        if "format" not in content["schema"] and not content.get("examples") and "example" not in content
    ]

    assert bare == []


def test_every_example_fits_its_shape_and_holds_no_unknown_field(document: Document) -> None:
    closed = strict(document)
    wrong = {where: found for where, schema, value in examples(closed) if (found := mistakes(closed, schema, value))}

    assert wrong == {}


def test_an_example_that_does_not_fit_is_noticed(document: Document) -> None:
    closed = strict(document)
    schema = {"$ref": "#/components/schemas/Balance"}

    assert mistakes(closed, schema, {"balance": 3}) == []
    assert mistakes(closed, schema, {"balance": "3"}) != []
    assert mistakes(closed, schema, {"balance": 3, "more": 1}) != []


def test_every_refusal_is_told_as_a_problem_of_its_status(document: Document) -> None:
    wrong = [
        f"{name} {status}"
        for name, told in operations(document)
        for status, one in told["responses"].items()
        if status >= "400" and name != f"GET {ROOT}/health"
        for content in resolved(document, one)["content"].items()
        if content[0] != "application/problem+json"
        or any(example["value"]["status"] != int(status) for example in content[1]["examples"].values())
    ]

    assert wrong == []


def test_whatever_needs_a_login_says_so_and_how_it_refuses(document: Document) -> None:
    closed = {name for name, told in operations(document) if "security" in told}
    opened = {name for name, _ in operations(document)} - closed

    assert opened == {
        "POST /api/auth/register",
        "POST /api/auth/login",
        f"GET {ROOT}/health",
        f"GET {ROOT}/files/{{token}}/{{name}}",
    }
    assert all("401" in told["responses"] for name, told in operations(document) if name in closed)
    assert [scheme["scheme"] for scheme in document["components"]["securitySchemes"].values()] == ["bearer"]


def test_what_a_real_service_answers_has_the_shape_of_the_examples(
    document: Document, sqlite_house: House, sqlite_served: Served, sqlite_ann: httpx2.Client
) -> None:
    closed = strict(document)
    told = dict(operations(document))

    def ask(method: str, path: str, address: str | None = None, **sent: Any) -> Any:
        answer = sqlite_ann.request(method, address or path, **sent)
        good = told[f"{method} {path}"]["responses"][str(answer.status_code)]
        content = good["content"]["application/json"]
        assert mistakes(closed, content["schema"], answer.json()) == [], path
        assert differences(shape(content["example"]), shape(answer.json())) == [], path
        assert {name.lower() for name in good["headers"]} <= set(answer.headers), path
        return answer.json()

    ask("POST", "/api/auth/register", json={"email": "eve@studio.example", "password": "correct horse battery"})
    ask("GET", "/api/auth/profile")
    ask("GET", "/api/credits/history")
    ask("GET", f"{ROOT}/library", params={"limit": 1})
    ask("GET", f"{ROOT}/categories")
    project = ask("POST", f"{ROOT}/projects", json={"projectName": "Walk", "avatarSource": "UPLOAD"})["project"]
    order = {"projectId": project["id"], "generationType": "GALLERY_REFERENCE", "batchSize": 2}
    order["selectedPoseIds"] = sqlite_house.pose_ids[:1]
    ask("POST", f"{ROOT}/generate/quote", json=order)
    placed = ask("POST", f"{ROOT}/generate", json=order, headers={"Idempotency-Key": "one"})
    now = sqlite_house.generation(placed["generationId"]).created_at
    sqlite_house.deliver(sqlite_house.claim(1, now=now)[0], now=now)
    one = f"{ROOT}/generations/{{generation_id}}"
    here = f"{ROOT}/generations/{placed['generationId']}"
    ask("GET", one, here)
    picture = ask("GET", f"{one}/results", f"{here}/results")["results"][0]
    ask("GET", f"{one}/poses", f"{here}/poses")
    favorite = f"{ROOT}/poses/{picture['id']}/favorite"
    ask("PUT", f"{ROOT}/poses/{{picture_id}}/favorite", favorite, json={"isFavorite": True})
    ask("POST", f"{one}/cancel", f"{here}/cancel")
    ask("GET", f"{ROOT}/credits")
    ask("GET", f"{ROOT}/stats")
    ask("GET", "/api/generations")


def test_the_page_that_shows_it_needs_no_other_host(sqlite_served: Served) -> None:
    client = sqlite_served.client()
    page = client.get("/docs")
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert [link for link in needed if "//" in link] == []
    assert [link for link in needed if client.get(f"/{link}").status_code != 200] == []
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]


def test_the_page_gives_out_no_other_file(sqlite_served: Served) -> None:
    assert sqlite_served.client().get("/docs/..%2f__init__.py").status_code == 404
    assert sqlite_served.client().get("/docs/redoc.standalone.js").status_code == 404

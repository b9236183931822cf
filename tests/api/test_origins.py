"""Which pages may call: the rule, and the headers that browsers read."""

from pathlib import Path

import pytest
from support.house import House
from support.serving import ROOT, serving, settings_for

from api.origins import Origins

STUDIO = ("http://localhost:5173", "https://*.example.com", "https://app.studio.test:8443")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("https://app.studio.test:8443", True),
        ("https://www.example.com", True),
        ("https://a.b-c.example.com", True),
        ("https://example.com", False),
        ("http://www.example.com", False),
        ("https://www.example.com:8443", False),
        ("https://evilexample.com", False),
        ("https://evil.com/.example.com", False),
        ("https://evil.com?.example.com", False),
        ("https://evil.com#.example.com", False),
        ("https://evil.com\n.example.com", False),
        ("https://user@evil.com:1.example.com", False),
        ("https://www.example.com.evil.com", False),
        ("https://wwwxexamplexcom", False),
        ("https://.example.com", False),
        ("https://-.example.com", False),
        ("http://localhost:51730", False),
        ("null", False),
        ("", False),
    ],
)
def test_an_origin_is_allowed_or_not(origin: str, allowed: bool) -> None:
    assert Origins(STUDIO).allows(origin) is allowed


def test_without_any_allowed_origin_nobody_is() -> None:
    assert not Origins(()).allows("https://www.example.com")
    assert not Origins(()).allows("")


def test_a_star_allows_everybody() -> None:
    assert Origins(("*",)).allows("https://anything.example")


def test_a_page_of_this_very_host_may_open_a_socket() -> None:
    origins = Origins(STUDIO)

    assert origins.allows_socket("http://api.test:4000", {"HTTP_HOST": "api.test:4000"})
    assert not origins.allows_socket("http://api.test:4001", {"HTTP_HOST": "api.test:4000"})
    assert not origins.allows_socket("null", {})


def test_browsers_are_told_what_an_allowed_page_may_do(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    with serving(settings_for(sqlite_url, tmp_path, cors_origin=STUDIO)) as served:
        client = served.client()
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        preflight = client.options(f"{ROOT}/generate", headers={"Origin": "https://www.example.com", **asked})
        refused = client.options(f"{ROOT}/generate", headers={"Origin": "https://evil.com", **asked})
        refusal = client.post(f"{ROOT}/generate", headers={"Origin": "https://www.example.com"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://www.example.com"
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert refusal.status_code == 401
    assert refusal.headers["access-control-allow-origin"] == "https://www.example.com"
    exposed = {name.strip() for name in refusal.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"Content-Disposition", "Location", "Retry-After"}

"""The page at `/docs`: the OpenAPI document to read and to try, from this service's own disk, since a studio's box may
have no way to the internet. The reader is Swagger UI, as the package `fastapi_offline` carries it.
"""

from http import HTTPStatus
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from posegen.errors import NotFound

_PAGE = (Path(__file__).parents[1] / "web" / "docs.html").read_text(encoding="utf-8")
_READER = files("fastapi_offline") / "static"
_READERS_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/{name}")
def file(name: str) -> Response:
    """Return a file of the reader."""
    if name not in _READERS_FILES:
        raise NotFound("file", [name])
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response((_READER / name).read_bytes(), HTTPStatus.OK, headers, media_type=_READERS_FILES[name])

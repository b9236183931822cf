"""Stored pictures by their signed links, which work in an `<img>` tag: the link itself is the permission."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from api.service import Parts
from posegen.storage import FILES_PATH, stored_object

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), _BINARY)},
    304: {"description": "The content that If-None-Match names is still this one"},
}
router = APIRouter(prefix=FILES_PATH, tags=["files"])


@router.head("/{token}/{name}", response_class=Response, include_in_schema=False)
@router.get("/{token}/{name}", response_class=Response, responses=_ANSWERS)
def file(token: str, name: str, service: Parts, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Return the file that the token stands for; `name` is only for people."""
    key, good_for = service.links.read(token)
    with service.database.reading() as session:
        row = stored_object(session, key)
    # A key is written once, so its name stands for its content.
    etag = f'"{sha256(key.encode()).hexdigest()[:32]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={int(good_for.total_seconds())}, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(service.storage.get(key), media_type=row.content_type, headers=headers)

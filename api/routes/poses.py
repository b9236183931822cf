"""Key-points in and out: from any dialect of OpenPose JSON or from words; changing a pose, and drawing it."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from api.access import CurrentUser
from api.routes import POSE_GENERATOR
from api.service import Parts
from api.wire.poses import PoseAsked, PoseImported, RenderAsked, SuggestAsked, SuggestionsTold
from posegen.poses import pose_png
from posegen.suggesting import suggest_poses

_RENDERED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The picture that If-None-Match names is still this one"},
}
router = APIRouter(prefix=f"{POSE_GENERATOR}/poses", tags=["poses"])


@router.post("/import")
def import_pose(body: PoseAsked, _caller: CurrentUser) -> PoseImported:
    """Return the key-points in the one dialect this service writes, and what had to be assumed to read them."""
    return PoseImported.of(body.changed())


@router.post("/render", response_class=Response, responses=_RENDERED)
def render_pose(
    body: RenderAsked, _caller: CurrentUser, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the pose as a picture: the control map as the model gets it, or a preview."""
    content = pose_png(body.changed().pose, body.rendering, body.width, body.height)
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type="image/png", headers=headers)


@router.post("/suggest")
def suggest(body: SuggestAsked, _caller: CurrentUser, service: Parts) -> SuggestionsTold:
    """Return poses for words, as key-points that can be looked at, edited and then ordered. Nothing is charged."""
    with service.database.reading() as session:
        found = suggest_poses(session, body.text, limit=body.limit)
    return SuggestionsTold.of(found, service.links)

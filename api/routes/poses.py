"""Key-points in and out: from any dialect of OpenPose JSON or from words; changing a pose, and drawing it."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Response

from api.access import CurrentUser
from api.detecting import take_photo
from api.routes import POSE_GENERATOR
from api.service import Parts
from api.wire.poses import (
    DetectionPlaced,
    DetectionTold,
    DetectPhoto,
    PoseAsked,
    PoseImported,
    RenderAsked,
    SuggestAsked,
    SuggestionsTold,
)
from posegen.detections import detection_of
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


@router.post("/detect", status_code=HTTPStatus.ACCEPTED)
def detect(
    form: Annotated[DetectPhoto, Form()], caller: CurrentUser, service: Parts, response: Response
) -> DetectionPlaced:
    """Take a photo whose people's pose shall be found; read it at `Location`. Nothing is charged.

    The photo is deleted as soon as the pose is found, or is not.
    """
    detection_id = take_photo(service, caller, form.image)
    response.headers["Location"] = f"{POSE_GENERATOR}/poses/detect/{detection_id}"
    return DetectionPlaced(detection_id=detection_id)


@router.get("/detect/{detection_id}")
def detection(detection_id: str, caller: CurrentUser, service: Parts) -> DetectionTold:
    """Return how far a photo is and, once completed, its key-points: to be edited, rendered and ordered. For a day."""
    with service.database.reading() as session:
        return DetectionTold.of(detection_of(session, caller.id, detection_id))

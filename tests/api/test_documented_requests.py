"""Every request that the documentation shows is one that a real service takes."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import update
from support.house import NOW, House
from support.serving import ROOT, serving, settings_for

from api.documentation.describing import OPERATIONS
from api.documentation.story import ANN, AVATAR, FOLDER, POSE, PROJECT
from posegen import ledger
from posegen.tables import Avatar, AvatarProject, LibraryPose, Project, User

UPLOADS = ("POST /api/apps/avatar-creator/avatars", "/image", "/upload", f"POST {ROOT}/poses/detect")
"""Multipart forms, whose photo the documentation only describes."""


def furnish(house: House) -> Mapping[str, str]:
    """Give Ann, who has registered, the things that the examples name; return ids for the paths."""
    own = {"user_id": ANN, "created_at": NOW, "updated_at": NOW}
    with house.database.writing() as session:
        session.execute(update(User).where(User.email == "ann@studio.example").values(id=ANN))
        session.execute(update(LibraryPose).where(LibraryPose.id == house.pose_ids[0]).values(id=POSE))
        ledger.grant(session, ANN, 10_000, description="for tests", now=NOW)
        files = {"image_key": "a.jpg", "thumbnail_key": "a.webp", "width_px": 1024, "height_px": 1024}
        session.add_all(
            [
                AvatarProject(id=FOLDER, name="Faces", **own),
                Avatar(id=AVATAR, name="Ann", **files, **own),
                Project(id=PROJECT, project_name="Look book", avatar_source="UPLOAD", status="active", **own),
            ]
        )
    house.pose_ids[0] = POSE
    generation_id = house.order(ANN, 2).generation_id
    claim = house.claim(1)[0]
    assert house.deliver(claim)
    picture = house.pictures(generation_id)[0]
    return {"generation_id": generation_id, "picture_id": picture.id, "avatar_id": AVATAR, "project_id": PROJECT}


def test_every_documented_request_is_taken(sqlite_house: House, sqlite_url: str, tmp_path: Path) -> None:
    settings = settings_for(sqlite_url, tmp_path, profile="flux1-dev")
    asked = [
        (operation, name, body)
        for operation, described in OPERATIONS.items()
        if not operation.endswith(UPLOADS)
        for name, body in (described.requests or {}).items()
    ]
    refused: list[str] = []
    with serving(settings) as served:
        client = served.client(ANN)
        ids: Mapping[str, str] = {}
        for operation, name, body in asked:
            method, path = operation.split(" ")
            here = {**ids, "project_id": FOLDER} if "avatar-creator" in path else ids
            answer = client.request(method, path.format_map(here), json=body)
            if not answer.is_success:
                refused.append(f"{operation} {name}: {answer.status_code} {answer.text}")
            elif path.endswith("/auth/profile"):  # a new password ends the login from before
                client.headers["Authorization"] = f"Bearer {answer.json()['data']['token']}"
            ids = ids or furnish(sqlite_house)

    assert asked[0][0] == "POST /api/auth/register", "nobody else may be asked for before Ann is there"
    assert refused == []

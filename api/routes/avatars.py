"""A customer's avatars and their folders: photos come as multipart forms, everything else as JSON."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form

from api.access import CurrentUser
from api.photos import discard, stored_photo
from api.routes import AVATAR_CREATOR
from api.service import Parts
from api.wire.avatars import (
    AvatarBody,
    AvatarForm,
    AvatarProjectsTold,
    AvatarProjectTold,
    AvatarsTold,
    AvatarTold,
    FolderBody,
    FolderChanges,
    Gone,
    OneAvatarProjectTold,
    OneAvatarTold,
    PhotoForm,
    UploadForm,
)
from api.wire.loras import loras_of
from models.loras import shelf
from posegen import avatars
from posegen.database import database_now

router = APIRouter(prefix=AVATAR_CREATOR, tags=["avatars"])


@router.get("/avatars")
def all_avatars(caller: CurrentUser, service: Parts) -> AvatarsTold:
    """Return the caller's avatars, newest first."""
    with service.database.reading() as session:
        return AvatarsTold.of(avatars.list_avatars(session, caller.id), service.links)


@router.post("/avatars", status_code=HTTPStatus.CREATED)
def create(form: Annotated[AvatarForm, Form()], caller: CurrentUser, service: Parts) -> OneAvatarTold:
    """Create an avatar of a photo."""
    with stored_photo(service, caller, form.image) as stored, service.database.writing() as session:
        row = avatars.create_avatar(
            session,
            caller.id,
            stored,
            name=form.name,
            looks=form.looks(),
            project_id=form.project_id,
            now=database_now(session),
        )
    return OneAvatarTold(avatar=AvatarTold.of(row, service.links))


@router.get("/avatars/{avatar_id}")
def avatar(avatar_id: str, caller: CurrentUser, service: Parts) -> OneAvatarTold:
    """Return an avatar."""
    with service.database.reading() as session:
        row = avatars.owned_avatar(session, caller.id, avatar_id)
        return OneAvatarTold(avatar=AvatarTold.of(row, service.links))


@router.put("/avatars/{avatar_id}")
def change(avatar_id: str, body: AvatarBody, caller: CurrentUser, service: Parts) -> OneAvatarTold:
    """Change an avatar's name, looks or LoRAs; orders that were placed keep the old ones."""
    with service.database.writing() as session:
        row, _ = avatars.change_avatar(
            session,
            caller.id,
            avatar_id,
            body.changes(),
            loras=None if body.loras is None else loras_of(body.loras),
            known_loras=tuple(shelf(service.settings.loras_folder)),
            now=database_now(session),
        )
    return OneAvatarTold(avatar=AvatarTold.of(row, service.links))


@router.put("/avatars/{avatar_id}/image")
def change_photo(
    avatar_id: str, form: Annotated[PhotoForm, Form()], caller: CurrentUser, service: Parts
) -> OneAvatarTold:
    """Give an avatar another photo."""
    with stored_photo(service, caller, form.image) as stored, service.database.writing() as session:
        row, unnamed = avatars.change_avatar(session, caller.id, avatar_id, {}, stored, now=database_now(session))
    discard(service, unnamed)
    return OneAvatarTold(avatar=AvatarTold.of(row, service.links))


@router.delete("/avatars/{avatar_id}")
def delete(avatar_id: str, caller: CurrentUser, service: Parts) -> Gone:
    """Delete an avatar; projects around it go on showing it."""
    with service.database.writing() as session:
        unnamed = avatars.delete_avatar(session, caller.id, avatar_id, now=database_now(session))
    discard(service, unnamed)
    return Gone(message="The avatar was deleted.")


@router.get("/projects")
def projects(caller: CurrentUser, service: Parts) -> AvatarProjectsTold:
    """Return the caller's folders with their avatars, newest first."""
    with service.database.reading() as session:
        rows = avatars.list_avatars(session, caller.id)
        folders = avatars.list_avatar_projects(session, caller.id)
        return AvatarProjectsTold(projects=[AvatarProjectTold.of(folder, rows, service.links) for folder in folders])


@router.post("/projects", status_code=HTTPStatus.CREATED)
def create_project(body: FolderBody, caller: CurrentUser, service: Parts) -> OneAvatarProjectTold:
    """Create a folder."""
    with service.database.writing() as session:
        row = avatars.create_avatar_project(
            session, caller.id, name=body.name, description=body.description, now=database_now(session)
        )
    return OneAvatarProjectTold(project=AvatarProjectTold.of(row, (), service.links))


@router.get("/projects/{project_id}")
def project(project_id: str, caller: CurrentUser, service: Parts) -> OneAvatarProjectTold:
    """Return a folder with its avatars."""
    with service.database.reading() as session:
        row = avatars.owned_avatar_project(session, caller.id, project_id)
        rows = avatars.list_avatars(session, caller.id)
        return OneAvatarProjectTold(project=AvatarProjectTold.of(row, rows, service.links))


@router.put("/projects/{project_id}")
def change_project(project_id: str, body: FolderChanges, caller: CurrentUser, service: Parts) -> OneAvatarProjectTold:
    """Change a folder."""
    with service.database.writing() as session:
        row = avatars.change_avatar_project(
            session, caller.id, project_id, name=body.name, description=body.description, now=database_now(session)
        )
        rows = avatars.list_avatars(session, caller.id)
    return OneAvatarProjectTold(project=AvatarProjectTold.of(row, rows, service.links))


@router.delete("/projects/{project_id}")
def delete_project(project_id: str, caller: CurrentUser, service: Parts) -> Gone:
    """Delete a folder; its avatars stay."""
    with service.database.writing() as session:
        avatars.delete_avatar_project(session, caller.id, project_id)
    return Gone(message="The project was deleted; its avatars stay.")


@router.post("/projects/{project_id}/avatars/upload", status_code=HTTPStatus.CREATED)
def upload(project_id: str, form: Annotated[UploadForm, Form()], caller: CurrentUser, service: Parts) -> OneAvatarTold:
    """Create an avatar of a photo, in a folder."""
    with stored_photo(service, caller, form.image) as stored, service.database.writing() as session:
        row = avatars.create_avatar(
            session,
            caller.id,
            stored,
            name=form.name,
            looks=form.looks(),
            project_id=project_id,
            now=database_now(session),
        )
    return OneAvatarTold(avatar=AvatarTold.of(row, service.links))

"""A customer's projects."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api.access import CurrentUser
from api.photos import discard
from api.routes import POSE_GENERATOR
from api.routes.paging import PageLimit, PageNumber, page_of
from api.service import Parts, Service
from api.wire.avatars import Gone
from api.wire.projects import (
    OneProjectTold,
    ProjectAndGenerations,
    ProjectBody,
    ProjectChanges,
    ProjectsTold,
    ProjectTold,
)
from posegen.avatars import avatar_shown_at, avatars_by_id
from posegen.database import database_now
from posegen.generations import list_generations
from posegen.projects import change_project, create_project, delete_project, list_projects, owned_project
from posegen.tables import Project

RECENT_GENERATIONS = 10
router = APIRouter(prefix=f"{POSE_GENERATOR}/projects", tags=["projects"])


@router.get("")
def projects(
    caller: CurrentUser,
    service: Parts,
    status: Literal["active", "archived"] | None = None,
    page: PageNumber = 1,
    limit: PageLimit = 10,
) -> ProjectsTold:
    """Return a page of the caller's projects, newest first."""
    with service.database.reading() as session:
        found = list_projects(session, caller.id, page_of(page, limit), status=status)
        return ProjectsTold.of(found, avatars_by_id(session, (row.avatar_id for row in found.rows)), service.links)


@router.post("", status_code=HTTPStatus.CREATED)
def create(body: ProjectBody, caller: CurrentUser, service: Parts) -> OneProjectTold:
    """Create a project around an avatar, or around a picture that lies elsewhere."""
    with service.database.writing() as session:
        row = create_project(
            session,
            caller.id,
            name=body.project_name,
            description=body.description,
            avatar_image_url=body.avatar_image_url,
            avatar_id=body.avatar_id or avatar_shown_at(session, caller.id, body.avatar_image_url, service.links),
            now=database_now(session),
        )
        return OneProjectTold(project=_told(session, row, service))


@router.get("/{project_id}")
def project(project_id: str, caller: CurrentUser, service: Parts) -> ProjectAndGenerations:
    """Return a project with its newest generations."""
    with service.database.reading() as session:
        row = owned_project(session, caller.id, project_id)
        recent = list_generations(session, caller.id, page_of(1, RECENT_GENERATIONS), project_id=row.id)
        return ProjectAndGenerations.of(_told(session, row, service), recent.rows)


@router.put("/{project_id}")
def change(project_id: str, body: ProjectChanges, caller: CurrentUser, service: Parts) -> OneProjectTold:
    """Rename, describe, archive or reopen a project."""
    with service.database.writing() as session:
        row = change_project(
            session,
            caller.id,
            project_id,
            name=body.project_name,
            description=body.description,
            status=body.status,
            now=database_now(session),
        )
        return OneProjectTold(project=_told(session, row, service))


@router.delete("/{project_id}")
def delete(project_id: str, caller: CurrentUser, service: Parts) -> Gone:
    """Delete a project whose pictures are all final; they stay readable by their generation."""
    with service.database.writing() as session:
        unnamed = delete_project(session, caller.id, project_id, now=database_now(session))
    discard(service, unnamed)
    return Gone(message="The project was deleted.")


def _told(session: Session, row: Project, service: Service) -> ProjectTold:
    return ProjectTold.of(row, avatars_by_id(session, [row.avatar_id]).get(row.avatar_id or ""), service.links)

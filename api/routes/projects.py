"""A customer's projects."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter

from api.access import CurrentUser
from api.routes import POSE_GENERATOR
from api.routes.paging import PageLimit, PageNumber, page_of
from api.service import Parts
from api.wire.projects import OneProjectTold, ProjectAndGenerations, ProjectBody, ProjectsTold, ProjectTold
from posegen.database import database_now
from posegen.generations import list_generations
from posegen.projects import create_project, list_projects, owned_project

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
        return ProjectsTold.of(list_projects(session, caller.id, page_of(page, limit), status=status))


@router.post("", status_code=HTTPStatus.CREATED)
def create(body: ProjectBody, caller: CurrentUser, service: Parts) -> OneProjectTold:
    """Create a project."""
    body.check_available()
    with service.database.writing() as session:
        row = create_project(
            session,
            caller.id,
            name=body.project_name,
            description=body.description,
            avatar_image_url=body.avatar_image_url,
            now=database_now(session),
        )
    return OneProjectTold(project=ProjectTold.of(row))


@router.get("/{project_id}")
def project(project_id: str, caller: CurrentUser, service: Parts) -> ProjectAndGenerations:
    """Return a project with its newest generations."""
    with service.database.reading() as session:
        row = owned_project(session, caller.id, project_id)
        recent = list_generations(session, caller.id, page_of(1, RECENT_GENERATIONS), project_id=row.id)
        return ProjectAndGenerations.of(row, recent.rows)

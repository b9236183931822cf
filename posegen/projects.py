"""A customer's projects. Somebody else's project does not exist."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from posegen.errors import NotFound
from posegen.paging import Page, Paged
from posegen.tables import Project

DELETED = "deleted"


def create_project(
    session: Session, user_id: str, *, name: str, description: str | None, avatar_image_url: str | None, now: datetime
) -> Project:
    """Create a project around an uploaded picture of the avatar."""
    project = Project(
        user_id=user_id,
        project_name=name,
        description=description,
        avatar_source="UPLOAD",
        avatar_image_url=avatar_image_url,
        status="active",
        total_generations=0,
        total_poses_generated=0,
        created_at=now,
        updated_at=now,
    )
    session.add(project)
    session.flush()
    return project


def owned_project(session: Session, user_id: str, project_id: str) -> Project:
    """Return the user's project. Raises NotFound, also for a deleted one or somebody else's."""
    project = session.scalars(
        select(Project).where(Project.id == project_id, Project.user_id == user_id, Project.status != DELETED)
    ).one_or_none()
    if project is None:
        raise NotFound("project", [project_id])
    return project


def list_projects(session: Session, user_id: str, page: Page, *, status: str | None = None) -> Paged[Project]:
    """Return the user's projects, newest first."""
    mine = select(Project).where(Project.user_id == user_id, Project.status != DELETED)
    if status is not None:
        mine = mine.where(Project.status == status)
    total = session.execute(select(func.count()).select_from(mine.subquery())).scalar_one()
    rows = session.scalars(
        mine.order_by(Project.created_at.desc(), Project.id.desc()).offset(page.offset).limit(page.limit)
    ).all()
    return Paged(rows=rows, page=page, total=total)

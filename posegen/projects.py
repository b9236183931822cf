"""A customer's projects. Somebody else's project does not exist.

A project around an avatar of ours keeps the avatar's id, never an address: links to its picture are made when told.
An order locks its project before anything else, so that a project is never deleted from under a new order.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from posegen.avatars import forget_unnamed, owned_avatar
from posegen.errors import BadInput, Conflict, FieldProblem, NotFound
from posegen.identifiers import new_id
from posegen.paging import Page, Paged
from posegen.statuses import FINAL_GENERATION_STATUSES
from posegen.tables import Avatar, Generation, Project

ACTIVE = "active"
DELETED = "deleted"
AVATAR_CREATOR = "AVATAR_CREATOR"
UPLOAD = "UPLOAD"
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlace:
    """Where an order goes (None: the avatar's default project), and whose looks its pictures have, if known."""

    project: Project | None
    avatar: Avatar | None


def create_project(
    session: Session,
    user_id: str,
    *,
    name: str,
    description: str | None,
    avatar_image_url: str | None,
    avatar_id: str | None = None,
    now: datetime,
) -> Project:
    """Create a project around an avatar of ours, or around a picture that lies elsewhere. Raises NotFound."""
    avatar = None if avatar_id is None else owned_avatar(session, user_id, avatar_id, lock=True)
    project = Project(
        user_id=user_id,
        project_name=name,
        description=description,
        avatar_source=UPLOAD if avatar is None else AVATAR_CREATOR,
        avatar_id=avatar_id,
        avatar_image_url=avatar_image_url if avatar is None else None,
        status=ACTIVE,
        total_generations=0,
        total_poses_generated=0,
        created_at=now,
        updated_at=now,
    )
    session.add(project)
    session.flush()
    return project


def owned_project(session: Session, user_id: str, project_id: str, *, lock: bool = False) -> Project:
    """Return the user's project. Raises NotFound, also for a deleted one or somebody else's."""
    mine = select(Project).where(Project.id == project_id, Project.user_id == user_id, Project.status != DELETED)
    if lock:
        mine = mine.with_for_update(key_share=True).execution_options(populate_existing=True)
    project = session.scalars(mine).one_or_none()
    if project is None:
        raise NotFound("project", [project_id])
    return project


def place_of_order(session: Session, user_id: str, project_id: str | None, avatar_id: str | None) -> OrderPlace:
    """Return where an order goes. Writes and locks nothing.

    Raises NotFound, Conflict for an archived project, or BadInput when neither is named.
    The order's avatar wins over the project's; without a project the order goes to the avatar's default project.
    """
    avatar = None if avatar_id is None else owned_avatar(session, user_id, avatar_id)
    if project_id is not None:
        project = _open_project(session, user_id, project_id)
        if avatar is None and project.avatar_id is not None:
            avatar = session.get(Avatar, project.avatar_id)
        return OrderPlace(project=project, avatar=avatar)
    if avatar is None:
        message = "Name a project, or an avatar."
        raise BadInput(message, [FieldProblem(field="projectId", message=message)])
    return OrderPlace(project=None, avatar=avatar)


def lock_place(session: Session, user_id: str, place: OrderPlace, *, now: datetime) -> Project:
    """Lock and return the project of an order, creating or reopening the avatar's default one.

    Raises NotFound for a deleted one and Conflict for an archived one.
    """
    if place.project is not None:
        return _open_project(session, user_id, place.project.id, lock=True)
    if place.avatar is None:
        raise ValueError("an order goes to a project or has an avatar")
    return _default_project(session, owned_avatar(session, user_id, place.avatar.id, lock=True), now)


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


def change_project(
    session: Session,
    user_id: str,
    project_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    status: str | None = None,
    now: datetime,
) -> Project:
    """Change what is given; None leaves it as it is. Raises NotFound."""
    project = owned_project(session, user_id, project_id, lock=True)
    project.project_name = name or project.project_name
    project.description = project.description if description is None else description or None
    project.status = status or project.status
    project.updated_at = now
    session.flush()
    return project


def delete_project(session: Session, user_id: str, project_id: str, *, now: datetime) -> list[str]:
    """Delete a project; its generations stay readable. Return the keys of files that nothing names any more.

    Raises NotFound, and Conflict while pictures of it are still to be drawn.
    """
    project = owned_project(session, user_id, project_id, lock=True)
    active = exists().where(Generation.project_id == project.id, Generation.status.not_in(FINAL_GENERATION_STATUSES))
    if session.scalar(select(active)):
        raise Conflict("Pictures of this project are still being drawn; cancel the generation or wait for its end.")
    project.status = DELETED
    project.default_for = None
    project.updated_at = now
    session.flush()
    return [] if project.avatar_id is None else forget_unnamed(session, project.avatar_id)


def _open_project(session: Session, user_id: str, project_id: str, *, lock: bool = False) -> Project:
    project = owned_project(session, user_id, project_id, lock=lock)
    if project.status != ACTIVE:
        raise Conflict("This project is archived; reopen it, or order in another one.")
    return project


def _default_project(session: Session, avatar: Avatar, now: datetime) -> Project:
    """Return the avatar's default project, locked; of two orders at once one creates it and both go there."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(
        insert(Project)
        .values(
            id=new_id(),
            user_id=avatar.user_id,
            project_name=f"Pictures of {avatar.name}"[:LONGEST_NAME],
            avatar_source=AVATAR_CREATOR,
            avatar_id=avatar.id,
            default_for=avatar.id,
            status=ACTIVE,
            total_generations=0,
            total_poses_generated=0,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing(index_elements=["default_for"])
    )
    project = session.scalars(
        select(Project)
        .where(Project.default_for == avatar.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    project.status = ACTIVE
    return project

"""Wishes for new library poses, as customers make and read them. One customer asks for a name once at a time."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from posegen.errors import BadInput, FieldProblem, NotFound
from posegen.paging import Page, Paged
from posegen.statuses import PoseRequestStatus
from posegen.tables import PoseCategory, PoseRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What pose is missing. `category` is an id or a slug."""

    pose_name: str
    description: str
    category: str | None = None
    use_case: str | None = None
    reference_image_url: str | None = None


def create_request(session: Session, user_id: str, wish: Wish, *, now: datetime) -> PoseRequest:
    """Write a wish. Raises NotFound (category), and BadInput while the user's wish of that name is open."""
    request = PoseRequest(
        user_id=user_id,
        pose_name=wish.pose_name,
        folded_name=" ".join(wish.pose_name.casefold().split()),
        description=wish.description,
        category_id=None if wish.category is None else _category_id(session, wish.category),
        use_case=wish.use_case,
        reference_image_url=wish.reference_image_url,
        status=PoseRequestStatus.PENDING,
        votes_count=1,
        created_at=now,
        updated_at=now,
    )
    try:
        with session.begin_nested():
            session.add(request)
    except IntegrityError as error:
        message = "You have asked for a pose of this name already; its request is still open."
        raise BadInput(message, [FieldProblem(field="poseName", message=message)]) from error
    return request


def list_requests(
    session: Session, user_id: str, page: Page, *, status: PoseRequestStatus | None = None
) -> Paged[PoseRequest]:
    """Return the user's wishes, newest first."""
    mine = select(PoseRequest).where(PoseRequest.user_id == user_id)
    if status is not None:
        mine = mine.where(PoseRequest.status == status)
    total = session.execute(select(func.count()).select_from(mine.subquery())).scalar_one()
    rows = session.scalars(
        mine.order_by(PoseRequest.created_at.desc(), PoseRequest.id.desc()).offset(page.offset).limit(page.limit)
    ).all()
    return Paged(rows=rows, page=page, total=total)


def _category_id(session: Session, category: str) -> str:
    found = session.scalars(
        select(PoseCategory.id).where(or_(PoseCategory.id == category, PoseCategory.slug == category))
    ).first()
    if found is None:
        raise NotFound("category", [category])
    return found

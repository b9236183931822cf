"""Wishes for new library poses on the wire."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from api.wire.base import Asked, Identifier, Moment, Pagination, Told, one_of, storable
from api.wire.projects import PictureAddress
from posegen.paging import Paged
from posegen.pose_requests import Wish
from posegen.statuses import PoseRequestStatus
from posegen.tables import PoseRequest


class WishBody(Asked):
    """What pose is missing."""

    pose_name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=100), AfterValidator(storable)
    ]
    description: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=10, max_length=1000), AfterValidator(storable)
    ]
    category_id: Identifier | None = None
    use_case: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(storable)] | None
    ) = None
    reference_image_url: PictureAddress | None = None

    def wish(self) -> Wish:
        """Return the wish."""
        return Wish(
            pose_name=self.pose_name,
            description=self.description,
            category=self.category_id or None,
            use_case=self.use_case or None,
            reference_image_url=self.reference_image_url,
        )


class RequestTold(Told):
    """A wish and how far it is."""

    id: str
    user_id: str
    pose_name: str
    description: str
    category_id: str | None
    use_case: str | None
    reference_image_url: str | None
    status: Annotated[str, one_of(PoseRequestStatus)]
    votes_count: int
    admin_notes: str | None
    completed_pose_id: str | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: PoseRequest) -> "RequestTold":
        """Describe a wish."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            pose_name=row.pose_name,
            description=row.description,
            category_id=row.category_id,
            use_case=row.use_case,
            reference_image_url=row.reference_image_url,
            status=row.status,
            votes_count=row.votes_count,
            admin_notes=row.admin_notes,
            completed_pose_id=row.completed_pose_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class OneRequestTold(Told):
    """A wish that was taken."""

    request: RequestTold
    message: str


class RequestsTold(Told):
    """A page of wishes."""

    requests: list[RequestTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[PoseRequest]) -> "RequestsTold":
        """Describe a page."""
        return cls(requests=[RequestTold.of(row) for row in paged.rows], pagination=Pagination.of(paged))

"""What the surrounding studio's frontend shows on its dashboard, on the wire."""

from collections.abc import Sequence
from typing import Annotated

from api.wire.base import Moment, Told, one_of
from api.wire.library import url_or_none
from posegen.statistics import Statistics
from posegen.statuses import GenerationStatus
from posegen.storage import Links
from posegen.tables import User
from posegen.works import Work

POSE_GENERATOR_APP = "pose-generator"


class AppTold(Told):
    """One application of the studio."""

    app_id: str
    name: str
    description: str
    icon: str
    color: str
    order: int
    beta: bool = False
    coming_soon: bool = False


APPS = (
    AppTold(
        app_id="avatar-creator",
        name="Avatar Creator",
        description="Photos of people and what is known of their looks.",
        icon="user",
        color="#7c3aed",
        order=1,
    ),
    AppTold(
        app_id=POSE_GENERATOR_APP,
        name="Pose Generator",
        description="Pictures of an avatar in chosen poses.",
        icon="accessibility",
        color="#0f766e",
        order=2,
    ),
)
"""What this service offers; other applications of a studio are listed by the studio itself."""


class AppsTold(Told):
    """Every application."""

    apps: list[AppTold]


class WorkTold(Told):
    """A generation as a tile."""

    id: str
    app_id: str
    project_name: str
    status: Annotated[str, one_of(GenerationStatus)]
    output_paths: list[str]
    thumbnail_url: str | None
    created_at: Moment
    file_count: int

    @classmethod
    def of(cls, work: Work, links: Links) -> "WorkTold":
        """Describe a generation."""
        first = work.pictures[0] if work.pictures else None
        return cls(
            id=work.generation.id,
            app_id=POSE_GENERATOR_APP,
            project_name=work.project_name,
            status=work.generation.status,
            output_paths=[links.url(picture.output_key) for picture in work.pictures if picture.output_key],
            thumbnail_url=None if first is None else url_or_none(links, first.thumbnail_key),
            created_at=work.generation.created_at,
            file_count=work.generation.poses_completed,
        )


class WorksTold(Told):
    """Generations as tiles."""

    generations: list[WorkTold]

    @classmethod
    def of(cls, works: Sequence[Work], links: Links) -> "WorksTold":
        """Describe generations."""
        return cls(generations=[WorkTold.of(work, links) for work in works])


class DashboardTold(Told):
    """The caller's numbers at a glance."""

    total_spending: int
    total_works: int
    total_projects: int
    last_login: Moment | None

    @classmethod
    def of(cls, found: Statistics, user: User) -> "DashboardTold":
        """Describe a user's numbers."""
        return cls(
            total_spending=found.credits_spent,
            total_works=found.pictures,
            total_projects=found.projects,
            last_login=user.last_login_at,
        )

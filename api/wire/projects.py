"""Projects on the wire."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Identifier, Moment, Pagination, Text, Told, storable
from api.wire.generations import GenerationTold
from posegen.errors import NotAvailableYet
from posegen.paging import Paged
from posegen.tables import Generation, Project

_PICTURE_ADDRESS = re.compile(r"https?://[^\s<>\"']+|/(?!/)[^\s<>\"']*")


def _picture_address(text: str) -> str | None:
    if not text.strip():
        return None
    if not _PICTURE_ADDRESS.fullmatch(text):
        raise PydanticCustomError("address", "This is not the address of a picture (https://... or /...)")
    return text


class ProjectBody(Asked):
    """A new project."""

    project_name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=100), AfterValidator(storable)
    ]
    description: Annotated[Text, Field(max_length=500)] | None = None
    avatar_image_url: Annotated[Text, Field(max_length=2000), AfterValidator(_picture_address)] | None = None
    avatar_source: Literal["AVATAR_CREATOR", "UPLOAD"]
    avatar_id: Identifier | None = None

    def check_available(self) -> None:
        """Raise NotAvailableYet for what is on the wire but not built."""
        if self.avatar_source == "AVATAR_CREATOR":
            raise NotAvailableYet("The avatar creator", "avatarSource")
        if self.avatar_id:
            raise NotAvailableYet("The avatar creator", "avatarId")


class ProjectTold(Told):
    """A project."""

    id: str
    user_id: str
    project_name: str
    description: str | None
    avatar_image_url: str | None
    avatar_source: str
    avatar_id: str | None
    total_generations: int
    total_poses_generated: int
    status: str
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: Project) -> "ProjectTold":
        """Describe a project."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            project_name=row.project_name,
            description=row.description,
            avatar_image_url=row.avatar_image_url,
            avatar_source=row.avatar_source,
            avatar_id=row.avatar_id,
            total_generations=row.total_generations,
            total_poses_generated=row.total_poses_generated,
            status=row.status,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class OneProjectTold(Told):
    """One project."""

    project: ProjectTold


class ProjectWithGenerations(ProjectTold):
    """A project with its newest generations."""

    generations: list[GenerationTold]


class ProjectAndGenerations(Told):
    """One project, with its newest generations."""

    project: ProjectWithGenerations

    @classmethod
    def of(cls, row: Project, generations: Sequence[Generation]) -> "ProjectAndGenerations":
        """Describe a project and its newest generations."""
        told = [GenerationTold.of(generation) for generation in generations]
        return cls(project=ProjectWithGenerations(**ProjectTold.of(row).model_dump(), generations=told))


class ProjectsTold(Told):
    """A page of projects."""

    projects: list[ProjectTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[Project]) -> "ProjectsTold":
        """Describe a page."""
        return cls(projects=[ProjectTold.of(row) for row in paged.rows], pagination=Pagination.of(paged))

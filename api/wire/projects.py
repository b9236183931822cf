"""Projects on the wire."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.wire.base import Asked, Identifier, Moment, Pagination, Text, Told, one_of, storable
from api.wire.generations import GenerationTold
from posegen.paging import Paged
from posegen.storage import Links
from posegen.tables import Avatar, Generation, Project

_PICTURE_ADDRESS = re.compile(r"https?://[^\s<>\"']+|/(?!/)[^\s<>\"']*")


def _picture_address(text: str) -> str | None:
    if not text.strip():
        return None
    if not _PICTURE_ADDRESS.fullmatch(text):
        raise PydanticCustomError("address", "This is not the address of a picture (https://... or /...)")
    return text


PictureAddress = Annotated[Text, Field(max_length=2000), AfterValidator(_picture_address)]
"""Where a picture lies that is not ours; an empty one is none."""
ProjectName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=100), AfterValidator(storable)
]


class ProjectBody(Asked):
    """A new project."""

    project_name: ProjectName
    description: Annotated[Text, Field(max_length=500)] | None = None
    avatar_image_url: PictureAddress | None = None
    avatar_source: Literal["AVATAR_CREATOR", "UPLOAD"]
    avatar_id: Identifier | None = Field(default=None, validate_default=True)

    @field_validator("avatar_id")
    @classmethod
    def _needed_of_the_avatar_creator(cls, value: str | None, given: ValidationInfo) -> str | None:
        if not value and given.data.get("avatar_source") == "AVATAR_CREATOR":
            raise PydanticCustomError("avatar_missing", "Name the avatar")
        return value or None


class ProjectChanges(Asked):
    """Changes of a project; what is left out stays, an empty description clears it."""

    project_name: ProjectName | None = None
    description: Annotated[Text, Field(max_length=500)] | None = None
    status: Literal["active", "archived"] | None = None


class ProjectTold(Told):
    """A project."""

    id: str
    user_id: str
    project_name: str
    description: str | None
    avatar_image_url: str | None
    avatar_source: Annotated[str, one_of(("AVATAR_CREATOR", "UPLOAD"))]
    avatar_id: str | None
    total_generations: int
    total_poses_generated: int
    status: Annotated[str, one_of(("active", "archived", "deleted"))]
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: Project, avatar: Avatar | None, links: Links) -> "ProjectTold":
        """Describe a project; the picture of an avatar of ours is linked to afresh."""
        return cls(
            id=row.id,
            user_id=row.user_id,
            project_name=row.project_name,
            description=row.description,
            avatar_image_url=row.avatar_image_url if avatar is None else links.url(avatar.image_key),
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
    def of(cls, project: ProjectTold, generations: Sequence[Generation]) -> "ProjectAndGenerations":
        """Describe a project and its newest generations."""
        told = [GenerationTold.of(generation) for generation in generations]
        return cls(project=ProjectWithGenerations(**project.model_dump(), generations=told))


class ProjectsTold(Told):
    """A page of projects."""

    projects: list[ProjectTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[Project], avatars: Mapping[str, Avatar], links: Links) -> "ProjectsTold":
        """Describe a page; `avatars` are those that its projects name, by id."""
        told = [ProjectTold.of(row, avatars.get(row.avatar_id or ""), links) for row in paged.rows]
        return cls(projects=told, pagination=Pagination.of(paged))

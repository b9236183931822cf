"""Avatars and their folders on the wire."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import UploadFile
from pydantic import AfterValidator, AliasChoices, Field, StringConstraints

from api.wire.base import Asked, Identifier, Moment, Text, Told, storable
from api.wire.loras import MOST_ASKED_LORAS, LoraAsked, LoraTold
from posegen.avatars import LOOKS, Looks
from posegen.storage import Links
from posegen.tables import Avatar, AvatarProject

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(storable)]
Look = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), AfterValidator(storable)] | None


class LooksBody(Asked):
    """What is known of a person; free words, since they go into prompts."""

    gender: Look = None
    age_range: Look = None
    ethnicity: Look = None
    body_type: Look = None
    hair_style: Look = None
    hair_color: Look = None
    eye_color: Look = None
    skin_tone: Look = None
    style: Look = None

    def looks(self) -> Looks:
        """Return what is known."""
        return Looks(**{look: getattr(self, look) or None for look in LOOKS})


class AvatarForm(LooksBody):
    """A new avatar: a form with its photo and looks."""

    image: UploadFile
    name: Name
    project_id: Identifier | None = None


class UploadForm(LooksBody):
    """A new avatar of a folder."""

    image: UploadFile
    name: Name


class PhotoForm(Asked):
    """Another photo of an avatar."""

    image: UploadFile


class AvatarBody(LooksBody):
    """Changes of an avatar: what is left out stays, an empty text or list clears."""

    name: Name | None = None
    loras: Annotated[list[LoraAsked], Field(max_length=MOST_ASKED_LORAS)] | None = Field(
        default=None, description="Changes of the model by name, for every order of this avatar"
    )

    def changes(self) -> Mapping[str, str | None]:
        """Return what changes, by column."""
        given = self.model_dump(exclude_none=True)
        return {column: given[column] or None for column in ("name", *LOOKS) if column in given}


class AvatarTold(Told):
    """An avatar, with links to its photo."""

    id: str
    name: str
    base_image_url: str
    thumbnail_url: str
    width: int
    height: int
    gender: str | None
    age_range: str | None
    ethnicity: str | None
    body_type: str | None
    hair_style: str | None
    hair_color: str | None
    eye_color: str | None
    skin_tone: str | None
    style: str | None
    loras: list[LoraTold]
    project_id: str | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: Avatar, links: Links) -> "AvatarTold":
        """Describe an avatar."""
        looks: dict[str, Any] = {look: getattr(row, look) for look in LOOKS}
        return cls(
            id=row.id,
            name=row.name,
            base_image_url=links.url(row.image_key),
            thumbnail_url=links.url(row.thumbnail_key),
            width=row.width_px,
            height=row.height_px,
            loras=LoraTold.all_of(row.loras),
            project_id=row.project_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
            **looks,
        )


class OneAvatarTold(Told):
    """One avatar."""

    avatar: AvatarTold


class AvatarsTold(Told):
    """Every avatar of the caller."""

    avatars: list[AvatarTold]

    @classmethod
    def of(cls, rows: Sequence[Avatar], links: Links) -> "AvatarsTold":
        """Describe avatars."""
        return cls(avatars=[AvatarTold.of(row, links) for row in rows])


class FolderChanges(Asked):
    """Changes of a folder of avatars; what is left out stays."""

    name: Annotated[Name | None, Field(validation_alias=AliasChoices("name", "projectName"))] = None
    description: Annotated[Text, Field(max_length=500)] | None = None


class FolderBody(FolderChanges):
    """A new folder of avatars; `projectName` is another spelling of `name`."""

    name: Annotated[Name, Field(validation_alias=AliasChoices("name", "projectName"))]


class AvatarProjectTold(Told):
    """A folder and the avatars in it."""

    id: str
    name: str
    project_name: str
    description: str | None
    avatars: list[AvatarTold]
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: AvatarProject, avatars: Sequence[Avatar], links: Links) -> "AvatarProjectTold":
        """Describe a folder."""
        return cls(
            id=row.id,
            name=row.name,
            project_name=row.name,
            description=row.description,
            avatars=[AvatarTold.of(avatar, links) for avatar in avatars if avatar.project_id == row.id],
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class OneAvatarProjectTold(Told):
    """One folder."""

    project: AvatarProjectTold


class AvatarProjectsTold(Told):
    """Every folder of the caller."""

    projects: list[AvatarProjectTold]


class Gone(Told):
    """Something was deleted."""

    success: bool = True
    message: str

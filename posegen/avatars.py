"""A customer's avatars: a photo in the store and the looks that go into prompts. Somebody else's does not exist.

Files are written before the row that names them and deleted after the commit that forgets them, so a link never leads
to nothing; functions that forget a file return its key for that. A deleted avatar that a project still shows is only
hidden, and forgotten with the last such project.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from pydantic.alias_generators import to_camel
from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from models.loras import applied
from posegen.errors import BadInput, NotFound
from posegen.identifiers import new_id
from posegen.loras import Loras, kept_loras, lora_problems
from posegen.storage import FILES_PATH, Links, Storage
from posegen.tables import Avatar, AvatarProject, Project, StoredObject
from posegen.uploads import THUMBNAIL_TYPE, Photo
from posegen.wording import check_wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What is known of a person; None where it is not."""

    gender: str | None = None
    age_range: str | None = None
    ethnicity: str | None = None
    body_type: str | None = None
    hair_style: str | None = None
    hair_color: str | None = None
    eye_color: str | None = None
    skin_tone: str | None = None
    style: str | None = None


LOOKS = tuple(Looks.__dataclass_fields__)
"""The names of an avatar's attributes, as columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPhoto:
    """A checked photo and its thumbnail, both in the store."""

    image_key: str
    thumbnail_key: str
    photo: Photo


def store_photo(storage: Storage, user_id: str, photo: Photo) -> StoredPhoto:
    """Write a photo under keys of the user. Raises StorageAway. Nothing names it yet: see `create_avatar`."""
    stem = f"users/{sha256(user_id.encode()).hexdigest()[:32]}/avatars/{new_id()}"
    stored = StoredPhoto(image_key=f"{stem}.{photo.suffix}", thumbnail_key=f"{stem}-thumb.webp", photo=photo)
    storage.put(stored.image_key, photo.content)
    storage.put(stored.thumbnail_key, photo.thumbnail)
    return stored


def create_avatar(
    session: Session,
    user_id: str,
    stored: StoredPhoto,
    *,
    name: str,
    looks: Looks,
    project_id: str | None = None,
    now: datetime,
) -> Avatar:
    """Create an avatar of a stored photo. Raises NotFound (the folder) and WordingRefused (looks go into prompts)."""
    if project_id is not None:
        owned_avatar_project(session, user_id, project_id, lock=True)
    known = asdict(looks)
    _check_words({"name": name, **known})
    avatar = Avatar(
        user_id=user_id, project_id=project_id, name=name, **known, created_at=now, updated_at=now, deleted_at=None
    )
    _name_photo(session, avatar, stored, now)
    session.add(avatar)
    session.flush()
    return avatar


def owned_avatar(session: Session, user_id: str, avatar_id: str, *, lock: bool = False) -> Avatar:
    """Return the user's avatar. Raises NotFound, also for a deleted one or somebody else's."""
    mine = select(Avatar).where(Avatar.id == avatar_id, Avatar.user_id == user_id, Avatar.deleted_at.is_(None))
    if lock:
        mine = mine.with_for_update(key_share=True).execution_options(populate_existing=True)
    avatar = session.scalars(mine).one_or_none()
    if avatar is None:
        raise NotFound("avatar", [avatar_id])
    return avatar


def avatar_shown_at(session: Session, user_id: str, address: str | None, links: Links) -> str | None:
    """Return the id of the user's avatar that one of our own links shows; None for any other address.

    Clients hand such links back, and a link kept in a row would stop working when it expires.
    """
    ours = re.search(re.escape(FILES_PATH) + r"/([^/?#]+)/", address or "")
    if ours is None:
        return None
    try:
        key, _ = links.read(ours[1])
    except NotFound:
        return None
    return session.scalars(
        select(Avatar.id).where(
            Avatar.user_id == user_id,
            Avatar.deleted_at.is_(None),
            or_(Avatar.image_key == key, Avatar.thumbnail_key == key),
        )
    ).one_or_none()


def list_avatars(session: Session, user_id: str) -> Sequence[Avatar]:
    """Return the user's avatars, newest first."""
    return session.scalars(
        select(Avatar)
        .where(Avatar.user_id == user_id, Avatar.deleted_at.is_(None))
        .order_by(Avatar.created_at.desc(), Avatar.id.desc())
    ).all()


def avatars_by_id(session: Session, avatar_ids: Iterable[str | None]) -> dict[str, Avatar]:
    """Return the avatars that projects name, deleted ones too; unknown ones are left out."""
    wanted = {avatar_id for avatar_id in avatar_ids if avatar_id is not None}
    if not wanted:
        return {}
    return {avatar.id: avatar for avatar in session.scalars(select(Avatar).where(Avatar.id.in_(sorted(wanted))))}


def change_avatar(
    session: Session,
    user_id: str,
    avatar_id: str,
    changes: Mapping[str, str | None],
    stored: StoredPhoto | None = None,
    *,
    loras: Loras | None = None,
    known_loras: Collection[str] = (),
    now: datetime,
) -> tuple[Avatar, list[str]]:
    """Change name, looks, LoRAs or photo; return the avatar and the keys of files that nothing names any more.

    `changes` has columns of an avatar; its orders are drawn with its LoRAs. Raises NotFound, WordingRefused, BadInput.
    """
    avatar = owned_avatar(session, user_id, avatar_id, lock=True)
    _check_words(changes)
    if loras is not None:
        problems = lora_problems(loras, known_loras)
        if problems:
            raise BadInput(" ".join(problem.message for problem in problems), problems)
        avatar.loras = kept_loras(applied(loras))
    for column in ("name", *LOOKS):
        if column in changes:
            setattr(avatar, column, changes[column])
    avatar.updated_at = now
    if stored is None:
        return avatar, []
    replaced = [avatar.image_key, avatar.thumbnail_key]
    _name_photo(session, avatar, stored, now)
    session.flush()
    _forget_files(session, replaced)
    return avatar, replaced


def delete_avatar(session: Session, user_id: str, avatar_id: str, *, now: datetime) -> list[str]:
    """Delete an avatar; return the keys of files that nothing names any more. Raises NotFound."""
    avatar = owned_avatar(session, user_id, avatar_id, lock=True)
    avatar.deleted_at = now
    avatar.project_id = None
    session.flush()
    return forget_unnamed(session, avatar_id)


def forget_unnamed(session: Session, avatar_id: str) -> list[str]:
    """Forget a deleted avatar when no project names it (any more); return the keys of its files, else nothing."""
    avatar = session.scalars(
        select(Avatar)
        .where(Avatar.id == avatar_id, Avatar.deleted_at.is_not(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    named = exists().where(Project.avatar_id == avatar_id, Project.status != "deleted")
    if avatar is None or session.scalar(select(named)):
        return []
    keys = [avatar.image_key, avatar.thumbnail_key]
    session.delete(avatar)
    session.flush()
    _forget_files(session, keys)
    return keys


def prompt_attributes(avatar: Avatar) -> dict[str, str]:
    """Return what is known of the avatar's looks, spelt as in prompts and on the wire."""
    looks = {column: getattr(avatar, column) for column in LOOKS}
    return {to_camel(column): value for column, value in looks.items() if value}


def create_avatar_project(
    session: Session, user_id: str, *, name: str, description: str | None, now: datetime
) -> AvatarProject:
    """Create a folder of avatars."""
    project = AvatarProject(user_id=user_id, name=name, description=description, created_at=now, updated_at=now)
    session.add(project)
    session.flush()
    return project


def owned_avatar_project(session: Session, user_id: str, project_id: str, *, lock: bool = False) -> AvatarProject:
    """Return the user's folder. Raises NotFound, also for somebody else's."""
    mine = select(AvatarProject).where(AvatarProject.id == project_id, AvatarProject.user_id == user_id)
    if lock:
        mine = mine.with_for_update(key_share=True).execution_options(populate_existing=True)
    project = session.scalars(mine).one_or_none()
    if project is None:
        raise NotFound("project", [project_id])
    return project


def list_avatar_projects(session: Session, user_id: str) -> Sequence[AvatarProject]:
    """Return the user's folders, newest first."""
    return session.scalars(
        select(AvatarProject)
        .where(AvatarProject.user_id == user_id)
        .order_by(AvatarProject.created_at.desc(), AvatarProject.id.desc())
    ).all()


def change_avatar_project(
    session: Session, user_id: str, project_id: str, *, name: str | None, description: str | None, now: datetime
) -> AvatarProject:
    """Change what is given; None leaves it as it is. Raises NotFound."""
    project = owned_avatar_project(session, user_id, project_id, lock=True)
    project.name = name or project.name
    project.description = project.description if description is None else description or None
    project.updated_at = now
    session.flush()
    return project


def delete_avatar_project(session: Session, user_id: str, project_id: str) -> None:
    """Delete a folder; its avatars stay, without one. Raises NotFound."""
    project = owned_avatar_project(session, user_id, project_id, lock=True)
    for avatar in session.scalars(select(Avatar).where(Avatar.project_id == project_id).with_for_update()):
        avatar.project_id = None
    session.flush()
    session.delete(project)
    session.flush()


def _check_words(texts: Mapping[str, str | None]) -> None:
    for column, value in texts.items():
        if value:
            check_wording(value, field=to_camel(column))


def _name_photo(session: Session, avatar: Avatar, stored: StoredPhoto, now: datetime) -> None:
    photo = stored.photo
    avatar.image_key, avatar.thumbnail_key = stored.image_key, stored.thumbnail_key
    avatar.width_px, avatar.height_px = photo.width_px, photo.height_px
    for key, content_type, content in (
        (stored.image_key, photo.content_type, photo.content),
        (stored.thumbnail_key, THUMBNAIL_TYPE, photo.thumbnail),
    ):
        session.add(StoredObject(key=key, content_type=content_type, size_bytes=len(content), created_at=now))


def _forget_files(session: Session, keys: Sequence[str]) -> None:
    session.execute(delete(StoredObject).where(StoredObject.key.in_(keys)))

"""The pose library: seeding it from the authored files, and reading it with search, filters and sorting."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import BytesIO

from PIL import Image
from sqlalchemy import ColumnElement, Select, Text, cast, func, or_, select
from sqlalchemy.orm import Session

from posegen.errors import BadInput, FieldProblem, NotFound
from posegen.paging import Page, Paged
from posegen.poses.authoring import AuthoredPose
from posegen.poses.drawing import draw_pose
from posegen.poses.library_files import LibraryFiles
from posegen.poses.openpose import pose_to_openpose
from posegen.poses.preview import draw_preview
from posegen.storage import Storage
from posegen.tables import LibraryPose, PoseCategory, StoredObject

MAP_PX = 512
THUMBNAIL_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryQuery:
    """Which poses are asked for. `category` is an id, slug or name and includes its children.

    `search` is words in any order, each of them somewhere in the pose's name, description, slug or tags.
    """

    category: str | None = None
    difficulty: str | None = None
    gender_suitability: str | None = None
    search: str | None = None
    featured: bool | None = None
    sort: str = "popular"


def draw_library(storage: Storage, authored_files: LibraryFiles) -> None:
    """Draw and store every picture that the store lacks, so that `seed_library` has only rows to write.

    Call it before the transaction: drawing takes a while, and on SQLite nobody else could write meanwhile.
    """
    for authored in authored_files.poses:
        _draw_missing(storage, authored)


def seed_library(session: Session, storage: Storage, authored_files: LibraryFiles, *, now: datetime) -> int:
    """Write the authored categories and poses; return how many poses changed. Seeding twice changes nothing."""
    categories = _seed_categories(session, authored_files, now)
    changed = 0
    for authored in authored_files.poses:
        people = pose_to_openpose(authored.pose)
        row = session.scalars(select(LibraryPose).where(LibraryPose.slug == authored.slug)).one_or_none()
        if row is None:
            row = LibraryPose(slug=authored.slug, created_at=now, updated_at=now)
        keys = _store_pictures(session, storage, authored, now)
        wanted = {
            "name": authored.name,
            "description": authored.description,
            "category_id": categories[authored.category].id,
            "people": people,
            "difficulty": authored.difficulty,
            "gender_suitability": authored.gender_suitability,
            "tags": list(authored.tags),
            "source_credit": authored.source_credit,
            "license_type": authored.license_type,
            "is_featured": authored.featured,
            **keys,
        }
        if any(getattr(row, name) != value for name, value in wanted.items()):
            for name, value in wanted.items():
                setattr(row, name, value)
            row.updated_at = now
            session.add(row)
            changed += 1
    session.flush()
    return changed


def pose_by_id(session: Session, pose_id: str) -> LibraryPose:
    """Return a public pose by id or slug. Raises NotFound."""
    row = session.scalars(
        _public().where(or_(LibraryPose.id == pose_id, LibraryPose.slug == pose_id)).limit(1)
    ).one_or_none()
    if row is None:
        raise NotFound("pose", [pose_id])
    return row


def list_poses(session: Session, query: LibraryQuery, page: Page) -> Paged[LibraryPose]:
    """Return one page of the public poses that fit the query. Raises NotFound (category) or BadInput (sort)."""
    if query.sort not in _ORDERS:
        message = f"sort is one of {', '.join(_ORDERS)}."
        raise BadInput(message, [FieldProblem(field="sort", message=message)])
    fitting = _public()
    if query.category is not None:
        fitting = fitting.where(LibraryPose.category_id.in_(_category_ids(session, query.category)))
    if query.difficulty is not None:
        fitting = fitting.where(LibraryPose.difficulty == query.difficulty)
    if query.gender_suitability is not None:
        fitting = fitting.where(LibraryPose.gender_suitability.in_((query.gender_suitability, "unisex")))
    if query.featured is not None:
        fitting = fitting.where(LibraryPose.is_featured.is_(query.featured))
    for word in (query.search or "").split():
        fitting = fitting.where(_says(word))
    total = session.execute(select(func.count()).select_from(fitting.subquery())).scalar_one()
    rows = session.scalars(fitting.order_by(*_ORDERS[query.sort]).offset(page.offset).limit(page.limit)).all()
    return Paged(rows=rows, page=page, total=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryBranch:
    """A category with its sub-categories; `pose_count` includes theirs."""

    category: PoseCategory
    pose_count: int
    children: tuple["CategoryBranch", ...]


def category_tree(session: Session) -> tuple[CategoryBranch, ...]:
    """Return the active categories as a tree, in display order."""
    rows = session.scalars(
        select(PoseCategory)
        .where(PoseCategory.is_active.is_(True))
        .order_by(PoseCategory.display_order, PoseCategory.name)
    ).all()
    counted = session.execute(
        select(LibraryPose.category_id, func.count())
        .where(LibraryPose.is_public.is_(True))
        .group_by(LibraryPose.category_id)
    )
    counts = {row[0]: int(row[1]) for row in counted}

    def branches(parent_id: str | None) -> Iterator[CategoryBranch]:
        for row in rows:
            if row.parent_id == parent_id:
                children = tuple(branches(row.id))
                own = counts.get(row.id, 0)
                yield CategoryBranch(
                    category=row, pose_count=own + sum(child.pose_count for child in children), children=children
                )

    return tuple(branches(None))


_TEXTS = (LibraryPose.name, LibraryPose.description, LibraryPose.slug)
_ORDERS = {
    "popular": (LibraryPose.popularity.desc(), LibraryPose.name, LibraryPose.id),
    "newest": (LibraryPose.created_at.desc(), LibraryPose.id.desc()),
    "name": (LibraryPose.name, LibraryPose.id),
}


def _public() -> Select[LibraryPose]:
    return select(LibraryPose).where(LibraryPose.is_public.is_(True))


def _says(word: str) -> ColumnElement[bool]:
    """Ask for a word, or a part of one, in any text of a pose or in its tags."""
    # Tags are kept as JSON, whose own brackets and quotes are no tags.
    tags = (cast(LibraryPose.tags, Text),) if any(map(str.isalnum, word)) else ()
    return or_(*(text.icontains(word, autoescape=True) for text in (*_TEXTS, *tags)))


def _category_ids(session: Session, named: str) -> set[str]:
    """Return the ids of the category named by id, slug or name, and of everything below it. Raises NotFound."""
    rows = session.scalars(select(PoseCategory)).all()
    name = named.lower()
    found = {
        row.id for row in rows if named == row.id or name in {row.slug, row.name.lower(), row.display_name.lower()}
    }
    if not found:
        raise NotFound("category", [named])
    while below := {row.id for row in rows if row.parent_id in found} - found:
        found |= below
    return found


def _seed_categories(session: Session, files: LibraryFiles, now: datetime) -> dict[str, PoseCategory]:
    rows = {row.slug: row for row in session.scalars(select(PoseCategory))}
    for authored in files.categories:
        row = rows.get(authored.slug)
        if row is None:
            row = rows[authored.slug] = PoseCategory(slug=authored.slug, created_at=now, updated_at=now)
            session.add(row)
        row.name = authored.name
        row.display_name = authored.display_name
        row.description = authored.description
        row.icon = authored.icon
        row.color = authored.color
        row.display_order = authored.display_order
        if session.is_modified(row):
            row.updated_at = now
        session.flush()
    for authored in files.categories:  # when all of them have their ids, whatever their order
        rows[authored.slug].parent_id = rows[authored.parent].id if authored.parent is not None else None
    session.flush()
    return rows


def _store_pictures(session: Session, storage: Storage, authored: AuthoredPose, now: datetime) -> dict[str, str]:
    """Register the pose's map, preview and thumbnail, stored before; return the row's key columns."""
    keys = _keys(authored)
    for key in _draw_missing(storage, authored) | {
        key for key in keys.values() if session.get(StoredObject, key) is None
    }:
        stored = storage.listed(key)
        size_bytes = 0 if stored is None else stored.size_bytes
        session.merge(StoredObject(key=key, content_type="image/png", size_bytes=size_bytes, created_at=now))
    return keys


def _draw_missing(storage: Storage, authored: AuthoredPose) -> set[str]:
    """Draw and store what the store lacks of a pose's pictures; return those keys. What is there is not drawn again."""
    keys = _keys(authored)
    missing = {key for key in keys.values() if not storage.holds(key)}
    if not missing:
        return missing
    preview = draw_preview(authored.pose, MAP_PX, MAP_PX)
    drawn = {
        keys["control_key"]: draw_pose(authored.pose, MAP_PX, MAP_PX),
        keys["preview_key"]: preview,
        keys["thumbnail_key"]: preview.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS),
    }
    for key in sorted(missing):
        storage.put(key, _png(drawn[key]))
    return missing


def _keys(authored: AuthoredPose) -> dict[str, str]:
    """Name a pose's pictures by column; the names change with what they depend on."""
    recipe = _recipe(authored)
    return {
        column: f"library/{authored.slug}/{kind}-{recipe}.png"
        for column, kind in (("control_key", "map"), ("preview_key", "preview"), ("thumbnail_key", "thumb"))
    }


def _recipe(authored: AuthoredPose) -> str:
    """Name everything a pose's pictures depend on: its key-points, and the code that draws them."""
    digest = sha256(json.dumps([pose_to_openpose(authored.pose), MAP_PX, THUMBNAIL_PX], sort_keys=True).encode())
    digest.update(_drawing_code())
    return digest.hexdigest()[:16]


@cache
def _drawing_code() -> bytes:
    folder = files("posegen.poses")
    return b"".join(
        file.read_bytes() for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(".py")
    )


def _png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()

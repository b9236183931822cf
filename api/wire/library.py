"""Library poses and categories on the wire."""

from collections.abc import Sequence
from typing import Annotated

from api.wire.base import Moment, Pagination, Told, one_of
from posegen.library import CategoryBranch
from posegen.paging import Paged
from posegen.storage import Links
from posegen.tables import LibraryPose, PoseCategory


class CategoryTold(Told):
    """A category; `pose_count` includes what is below it, and is null where it was not counted."""

    id: str
    name: str
    display_name: str
    description: str | None
    slug: str
    parent_id: str | None
    icon: str | None
    display_order: int
    color: str | None
    pose_count: int | None
    is_active: bool
    created_at: Moment
    updated_at: Moment
    children: list["CategoryTold"]

    @classmethod
    def of(
        cls, row: PoseCategory, *, pose_count: int | None = None, children: Sequence["CategoryTold"] = ()
    ) -> "CategoryTold":
        """Describe a category."""
        return cls(
            id=row.id,
            name=row.name,
            display_name=row.display_name,
            description=row.description,
            slug=row.slug,
            parent_id=row.parent_id,
            icon=row.icon,
            display_order=row.display_order,
            color=row.color,
            pose_count=pose_count,
            is_active=row.is_active,
            created_at=row.created_at,
            updated_at=row.updated_at,
            children=list(children),
        )

    @classmethod
    def of_branch(cls, branch: CategoryBranch) -> "CategoryTold":
        """Describe a category with all that is below it."""
        return cls.of(
            branch.category,
            pose_count=branch.pose_count,
            children=[cls.of_branch(child) for child in branch.children],
        )


class CategoriesTold(Told):
    """The tree of categories."""

    categories: list[CategoryTold]
    total_categories: int

    @classmethod
    def of(cls, branches: Sequence[CategoryBranch]) -> "CategoriesTold":
        """Describe the tree; every category counts, not only those at the top."""
        return cls(categories=[CategoryTold.of_branch(branch) for branch in branches], total_categories=_size(branches))


class PoseTold(Told):
    """A pose of the library."""

    id: str
    slug: str
    name: str
    description: str
    category_id: str
    preview_image_url: str | None
    reference_image_url: str | None
    controlnet_image_url: str | None
    thumbnail_url: str | None
    difficulty: Annotated[str, one_of(("beginner", "intermediate", "advanced"))]
    gender_suitability: Annotated[str, one_of(("male", "female", "unisex"))]
    tags: list[str]
    source_type: Annotated[str, one_of(("curated", "user_contributed", "ai_generated"))]
    source_credit: str | None
    license_type: str | None
    usage_count: int
    favorite_count: int
    rating_avg: float | None
    popularity_score: float
    is_public: bool
    is_featured: bool
    is_premium: bool
    created_at: Moment
    updated_at: Moment
    category: CategoryTold

    @classmethod
    def of(cls, row: LibraryPose, links: Links) -> "PoseTold":
        """Describe a pose, with links to its pictures."""
        return cls(
            id=row.id,
            slug=row.slug,
            name=row.name,
            description=row.description,
            category_id=row.category_id,
            preview_image_url=url_or_none(links, row.preview_key),
            reference_image_url=url_or_none(links, row.reference_key),
            controlnet_image_url=url_or_none(links, row.control_key),
            thumbnail_url=url_or_none(links, row.thumbnail_key),
            difficulty=row.difficulty,
            gender_suitability=row.gender_suitability,
            tags=row.tags,
            source_type=row.source_type,
            source_credit=row.source_credit,
            license_type=row.license_type,
            usage_count=row.usage_count,
            favorite_count=row.favorite_count,
            rating_avg=row.rating_avg,
            popularity_score=row.popularity,
            is_public=row.is_public,
            is_featured=row.is_featured,
            is_premium=row.is_premium,
            created_at=row.created_at,
            updated_at=row.updated_at,
            category=CategoryTold.of(row.category),
        )


class OnePoseTold(Told):
    """One pose."""

    pose: PoseTold


class PosesTold(Told):
    """A page of the library."""

    poses: list[PoseTold]
    pagination: Pagination

    @classmethod
    def of(cls, paged: Paged[LibraryPose], links: Links) -> "PosesTold":
        """Describe a page."""
        return cls(poses=[PoseTold.of(row, links) for row in paged.rows], pagination=Pagination.of(paged))


def url_or_none(links: Links, key: str | None) -> str | None:
    """Return a signed link to a stored file, None where there is none."""
    return None if key is None else links.url(key)


def _size(branches: Sequence[CategoryBranch]) -> int:
    return sum(1 + _size(branch.children) for branch in branches)

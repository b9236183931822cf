"""Reading the pose library."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from api.access import CurrentUser
from api.routes import POSE_GENERATOR
from api.routes.paging import PageLimit, PageNumber, page_of
from api.service import Parts
from api.wire.library import CategoriesTold, OnePoseTold, PosesTold, PoseTold
from posegen.library import LibraryQuery, category_tree, list_poses, pose_by_id

router = APIRouter(prefix=POSE_GENERATOR, tags=["library"])


def filters(
    category: Annotated[str | None, Query(max_length=200)] = None,
    difficulty: Literal["beginner", "intermediate", "advanced"] | None = None,
    gender_suitability: Annotated[Literal["male", "female", "unisex"] | None, Query(alias="genderSuitability")] = None,
    search: Annotated[str | None, Query(max_length=200)] = None,
    featured: bool | None = None,
    sort: Literal["popular", "newest", "name"] = "popular",
) -> LibraryQuery:
    """Return the filters of a request; an empty one is none."""
    return LibraryQuery(
        category=category or None,
        difficulty=difficulty,
        gender_suitability=gender_suitability,
        search=search,
        featured=featured,
        sort=sort,
    )


@router.get("/library")
def poses(
    _caller: CurrentUser,
    service: Parts,
    wanted: Annotated[LibraryQuery, Depends(filters)],
    page: PageNumber = 1,
    limit: PageLimit = 24,
) -> PosesTold:
    """Return a page of the library."""
    with service.database.reading() as session:
        return PosesTold.of(list_poses(session, wanted, page_of(page, limit)), service.links)


@router.get("/library/{pose_id}")
def pose(pose_id: str, _caller: CurrentUser, service: Parts) -> OnePoseTold:
    """Return one pose, by id or slug."""
    with service.database.reading() as session:
        return OnePoseTold(pose=PoseTold.of(pose_by_id(session, pose_id), service.links))


@router.get("/categories")
def categories(_caller: CurrentUser, service: Parts) -> CategoriesTold:
    """Return all categories as a tree."""
    with service.database.reading() as session:
        return CategoriesTold.of(category_tree(session))

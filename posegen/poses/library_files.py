"""The pose library as it is shipped: a folder of data files, read whole, in a stable order.

`categories.toml` lists the categories; every other .toml file in `poses/` is one pose. Whoever keeps the library in a
database seeds it from here; nothing in this module knows how.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posegen.poses.authoring import AuthoredPose, read_pose_file
from posegen.poses.errors import PoseFileRefused
from posegen.poses.toml_fields import Fields, read_fields

LIBRARY_FOLDER: Final = Path(__file__).resolve().parent.parent / "library_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoredCategory:
    """One category of the library. `parent` is the slug of the category it stands under, or None."""

    slug: str
    name: str
    display_name: str
    description: str
    icon: str
    color: str
    display_order: int
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFiles:
    """All categories by display order, and all poses by category and display order."""

    categories: tuple[AuthoredCategory, ...]
    poses: tuple[AuthoredPose, ...]

    def pose(self, slug: str) -> AuthoredPose:
        """Return the pose of this slug. Raises KeyError when there is none."""
        return {pose.slug: pose for pose in self.poses}[slug]


def read_library(folder: Path = LIBRARY_FOLDER) -> LibraryFiles:
    """Read every file of the library. Raises PoseFileRefused at the first that cannot be used."""
    path = folder / "categories.toml"
    fields = read_fields(path)
    categories = [_category(table) for table in fields.tables("categories", least=1)]
    fields.finish()
    categories.sort(key=lambda category: category.display_order)
    order = {category.slug: index for index, category in enumerate(categories)}
    if len(order) != len(categories):
        raise PoseFileRefused(path, "categories", "names a slug twice")
    for category in categories:
        if category.parent is not None and category.parent not in order:
            raise PoseFileRefused(path, "categories", f"puts {category.slug} under {category.parent}, which is unknown")
    poses = [read_pose_file(file) for file in sorted((folder / "poses").glob("*.toml"))]
    for pose in poses:
        if pose.category not in order:
            raise PoseFileRefused(pose.path, "category", f"is {pose.category!r}, which categories.toml does not list")
    poses.sort(key=lambda pose: (order[pose.category], pose.display_order, pose.slug))
    return LibraryFiles(categories=tuple(categories), poses=tuple(poses))


def _category(fields: Fields) -> AuthoredCategory:
    slug = fields.text("slug", 1, 60)
    color = fields.text("color", 7, 7)
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
        raise PoseFileRefused(fields.path, fields.name_of("color"), "must be written #RRGGBB")
    category = AuthoredCategory(
        slug=slug,
        name=fields.text("name", 1, 60),
        display_name=fields.text("display_name", 1, 100),
        description=fields.text("description", 1, 500),
        icon=fields.text("icon", 1, 60),
        color=color,
        display_order=int(fields.number("display_order", 0, 10_000)),
        parent=fields.text("parent", 1, 60) if fields.has("parent") else None,
    )
    fields.finish()
    return category

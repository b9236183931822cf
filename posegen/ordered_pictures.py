"""What an order's pictures show: poses of the library, key-points of the customer's own, or a pose chosen by words.

A picture's key-points, seed and words are settled here, before anybody pays; its variation key says where it came
from and is unique within the order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from posegen.errors import BadInput, FieldProblem, NotFound
from posegen.identifiers import SEED_LIMIT, new_seed
from posegen.poses.keypoints import Pose
from posegen.poses.openpose import pose_to_openpose
from posegen.suggesting import best_pose
from posegen.tables import LibraryPose
from posegen.words import Candidate, Variation, read_wish, variations_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPose:
    """Key-points that the customer sent along, with a name if they gave one."""

    pose: Pose
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedPicture:
    """One picture to be made: `people` is OpenPose JSON; name and description go into its prompt."""

    variation_key: str
    people: dict[str, Any]
    seed: int
    pose_id: str | None = None
    pose_name: str | None = None
    pose_description: str | None = None


def seeds_from(first: int | None) -> Iterator[int]:
    """Yield a seed per picture for ever: counting up from a given one, else each drawn by lot."""
    seed = first
    while True:
        yield new_seed() if seed is None else seed
        seed = None if seed is None else (seed + 1) % SEED_LIMIT


def library_pictures(
    session: Session, pose_ids: Sequence[str], variations: int, seeds: Iterator[int]
) -> list[OrderedPicture]:
    """Return a picture per pose and variation. Raises NotFound, and BadInput for a pose that is named twice."""
    return [
        OrderedPicture(
            variation_key=f"{row.id}-v{variation}",
            people=row.people,
            seed=next(seeds),
            pose_id=row.id,
            pose_name=row.name,
            pose_description=row.description,
        )
        for row in _library_poses(session, pose_ids)
        for variation in range(variations)
    ]


def own_pictures(poses: Sequence[OwnPose], variations: int, seeds: Iterator[int]) -> list[OrderedPicture]:
    """Return a picture per pose and variation."""
    return [
        OrderedPicture(
            variation_key=f"inline-{index}-v{variation}",
            people=pose_to_openpose(own.pose),
            seed=next(seeds),
            pose_name=own.name,
        )
        for index, own in enumerate(poses)
        for variation in range(variations)
    ]


def worded_pictures(
    session: Session, words: str, count: int, seeds: Iterator[int]
) -> tuple[list[OrderedPicture], dict[str, Any]]:
    """Return `count` variations of the pose the words choose, and in words what was chosen and why.

    There is always a pose: without one that fits, the neutral one. The words themselves are the prompt, so no name or
    description of a library pose is added to them.
    """
    chosen = best_pose(session, words)
    own_seeds = list(islice(seeds, count))
    wish = read_wish(words)
    made = variations_of(chosen.authored, own_seeds, may_mirror=not (wish.names_a_side or wish.mirrored))
    pictures = [
        OrderedPicture(variation_key=f"text-v{index}", people=pose_to_openpose(one.pose), seed=seed)
        for index, (one, seed) in enumerate(zip(made, own_seeds, strict=True))
    ]
    return pictures, _structure(chosen, made)


def _structure(chosen: Candidate, made: Sequence[Variation]) -> dict[str, Any]:
    """Describe the choice as the frontend reads it."""
    return {
        "poseId": chosen.entry.key,
        "poseName": chosen.entry.name,
        "score": chosen.score,
        "whyChosen": chosen.why,
        "shown": list(chosen.shown),
        "changed": list(chosen.bent),
        "notShown": list(chosen.missing),
        "mirrored": chosen.mirrored,
        "neutral": chosen.found_nothing,
        "variations": [
            {"variationKey": f"text-v{index}", "mirrored": one.mirrored, "jointsMoved": one.moved}
            for index, one in enumerate(made)
        ],
    }


def _library_poses(session: Session, pose_ids: Sequence[str]) -> list[LibraryPose]:
    if len(set(pose_ids)) != len(pose_ids):
        message = "A pose is named twice; ask for variations instead."
        raise BadInput(message, [FieldProblem(field="selectedPoseIds", message=message)])
    rows = session.scalars(select(LibraryPose).where(LibraryPose.id.in_(pose_ids), LibraryPose.is_public.is_(True)))
    found = {row.id: row for row in rows}
    missing = [pose_id for pose_id in pose_ids if pose_id not in found]
    if missing:
        raise NotFound("pose", missing)
    return [found[pose_id] for pose_id in pose_ids]

"""Reading one pose of the library from its file: what it is called, and a figure as joint angles or as key-points.

A pose is data, not code: a TOML file whose name is the slug. Under `[[people]]` stands either a figure (placement,
torso, head, arms and legs in the angles of figure.py) or plain `pose_keypoints_2d` lists as in OpenPose JSON, in 0..1
of the canvas. Limbs are written `upper = [swing, depth]`. An unknown field is refused, because a misspelt angle would
silently stay 0.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from posegen.poses.anatomy import HAND_SHAPES
from posegen.poses.errors import PoseFileRefused, PoseRefused
from posegen.poses.figure import (
    Arm,
    Bone,
    Figure,
    Hand,
    Head,
    Leg,
    Placement,
    SolvedFigure,
    Torso,
    project,
    solve,
)
from posegen.poses.keypoints import Person, Pose
from posegen.poses.openpose import pose_from_openpose
from posegen.poses.toml_fields import Fields, read_fields

DIFFICULTIES: Final = ("beginner", "intermediate", "advanced")
GENDER_SUITABILITIES: Final = ("male", "female", "unisex")
SUPPORTS: Final = ("feet", "seat", "air", "cut_off")
_ANCHORS: Final = ("ground", "hip", "neck")
_KEY_POINT_LISTS: Final = (
    "pose_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "face_keypoints_2d",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoredPose:
    """One pose of the library. `figures` has the solved figure of each person, None where key-points were given.

    `support` says what carries the body: feet on the ground, a seat, nothing (air), or the frame cuts it off.
    """

    slug: str
    name: str
    description: str
    category: str
    difficulty: str
    gender_suitability: str
    tags: tuple[str, ...]
    source_credit: str
    license_type: str
    featured: bool
    display_order: int
    support: str
    pose: Pose
    figures: tuple[SolvedFigure | None, ...]
    path: Path


def read_pose_file(path: Path) -> AuthoredPose:
    """Read one pose file. Raises PoseFileRefused, naming the file and the field, for anything it cannot use."""
    fields = read_fields(path)
    canvas = fields.numbers("canvas", 2, 1, 64, default=(1.0, 1.0))
    aspect = canvas[0] / canvas[1]
    read = [_person(person, aspect) for person in fields.tables("people", least=1)]
    try:
        pose = Pose(people=tuple(person for person, _ in read), aspect=aspect)
    except PoseRefused as e:
        raise PoseFileRefused(path, e.field, e.reason) from e
    authored = AuthoredPose(
        slug=fields.slug(),
        name=fields.text("name", 3, 100),
        description=fields.text("description", 10, 500),
        category=fields.text("category", 1, 60),
        difficulty=fields.choice("difficulty", DIFFICULTIES),
        gender_suitability=fields.choice("gender_suitability", GENDER_SUITABILITIES, default="unisex"),
        tags=fields.texts("tags"),
        source_credit=fields.text("source_credit", 1, 200),
        license_type=fields.text("license_type", 1, 60),
        featured=fields.flag("featured", default=False),
        display_order=int(fields.number("display_order", 0, 10_000, default=0)),
        support=fields.choice("support", SUPPORTS, default="feet"),
        pose=pose,
        figures=tuple(figure for _, figure in read),
        path=path,
    )
    fields.finish()
    return authored


def _person(fields: Fields, aspect: float) -> tuple[Person, SolvedFigure | None]:
    if fields.has("pose_keypoints_2d"):
        return _person_from_key_points(fields), None
    figure = Figure(
        placement=_placement(fields.table("placement")),
        torso=_torso(fields.table("torso", optional=True)),
        head=_head(fields.table("head", optional=True)),
        right_arm=_arm(fields.table("right_arm")),
        left_arm=_arm(fields.table("left_arm")),
        right_leg=_leg(fields.table("right_leg")),
        left_leg=_leg(fields.table("left_leg")),
    )
    fields.finish()
    solved = solve(figure)
    try:
        return project(solved, aspect), solved
    except PoseRefused as e:
        raise PoseFileRefused(fields.path, fields.name_of("placement"), "puts the figure out of the frame") from e


def _person_from_key_points(fields: Fields) -> Person:
    raw: dict[str, Any] = {key: fields.anything(key) for key in _KEY_POINT_LISTS}
    fields.finish()
    try:
        imported = pose_from_openpose({"people": [raw], "canvas_width": 1, "canvas_height": 1})
    except PoseRefused as e:
        raise PoseFileRefused(fields.path, fields.name_of(e.field.removeprefix("people[0].")), e.reason) from e
    if imported.assumptions:
        raise PoseFileRefused(
            fields.path, fields.name_of("pose_keypoints_2d"), f"is unclear: {imported.assumptions[0]}"
        )
    return imported.pose.people[0]


def _placement(fields: Fields) -> Placement:
    given = [anchor for anchor in _ANCHORS if fields.has(anchor)]
    if len(given) != 1:
        raise PoseFileRefused(
            fields.path, fields.name_of("ground"), "or hip or neck must be given, exactly one of them"
        )
    placement = Placement(
        stature=fields.number("stature", 0.05, 6),
        anchor=given[0],
        height=fields.number(given[0], -0.5, 2),
        x=fields.number("x", 0, 1, default=0.5),
        roll=fields.number("roll", -180, 180, default=0),
    )
    fields.finish()
    return placement


def _torso(fields: Fields) -> Torso:
    torso = Torso(
        lean=fields.number("lean", -120, 120, default=0),
        bow=fields.number("bow", -90, 90, default=0),
        hips_turn=fields.number("hips_turn", -180, 180, default=0),
        hips_tilt=fields.number("hips_tilt", -45, 45, default=0),
        chest_turn=fields.number("chest_turn", -180, 180, default=0),
        chest_tilt=fields.number("chest_tilt", -60, 60, default=0),
    )
    fields.finish()
    return torso


def _head(fields: Fields) -> Head:
    head = Head(
        turn=fields.number("turn", -180, 180, default=0),
        nod=fields.number("nod", -60, 60, default=0),
        tilt=fields.number("tilt", -60, 60, default=0),
        face=fields.flag("face", default=False),
        smile=fields.number("smile", 0, 1, default=0),
    )
    fields.finish()
    return head


def _bone(fields: Fields, key: str) -> Bone:
    swing, depth = fields.numbers(key, 2, -200, 200)
    if abs(depth) > 90:
        raise PoseFileRefused(fields.path, fields.name_of(key), "has a depth beyond 90 degrees")
    return Bone(swing=swing, depth=depth)


def _arm(fields: Fields) -> Arm:
    shape = fields.choice("hand", ("hidden", *HAND_SHAPES), default="relaxed")
    palm = fields.number("palm", -360, 360, default=90)
    points = _bone(fields, "hand_points") if fields.has("hand_points") else None
    arm = Arm(
        upper=_bone(fields, "upper"),
        lower=_bone(fields, "lower"),
        hand=None if shape == "hidden" else Hand(shape=shape, palm=palm, points=points),
    )
    fields.finish()
    return arm


def _leg(fields: Fields) -> Leg:
    leg = Leg(upper=_bone(fields, "upper"), lower=_bone(fields, "lower"))
    fields.finish()
    return leg

"""Changing a figure as a phrase says, within what the validator of poses allows.

Limbs come from the library that is shipped with the code. A change that bends a joint too far, hides a limb or leaves
the frame after everything was tried is not made, and the caller is told so; nothing else of the figure moves for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from posegen.poses import anatomy
from posegen.poses.authoring import AuthoredPose
from posegen.poses.errors import PoseRefused
from posegen.poses.figure import Arm, Bone, Figure, Head, Leg, SolvedFigure, project, solve
from posegen.poses.keypoints import Pose
from posegen.poses.library_files import LibraryFiles, read_library
from posegen.poses.skeleton import L_ANKLE, L_EYE, L_KNEE, NECK, R_ANKLE, R_EYE, R_KNEE
from posegen.poses.validation import validate_pose
from posegen.words.phrases import (
    LEFT,
    RIGHT,
    Change,
    GivenArms,
    GivenLegs,
    HeadHeld,
    LentArm,
    LentArms,
    LentLegs,
    Seen,
    SeenLookingBack,
    TorsoHeld,
)
from posegen.words.reading import Said
from posegen.words.turning import turned_arm, turned_figure, turned_leg

_MARGIN: Final = 0.05
_SHOWN_FROM_THE_FRONT: Final = 25.0  # a body turned less than this is turned further where a change needs it
_STANDS: Final = 40.0  # how far the thighs of somebody who stands may be off the upright
_ORDER: Final = (LentArms, LentArm, GivenArms, LentLegs, GivenLegs, TorsoHeld, Seen, SeenLookingBack, HeadHeld)
_VIEWS: Final = (Seen, SeenLookingBack)


@cache
def shipped_library() -> LibraryFiles:
    """Return the library of the code itself, read once."""
    return read_library()


@cache
def shipped_pose(slug: str) -> AuthoredPose:
    """Return one shipped pose. Raises KeyError: the grammar names only poses that are shipped (tested)."""
    return shipped_library().pose(slug)


def bent_pose(authored: AuthoredPose, said: Iterable[Said]) -> tuple[AuthoredPose, tuple[Said, ...]]:
    """Return the pose with every change that can be made, and the phrases whose changes were made.

    Only single figures are bent. What is returned has no findings the given pose did not have.
    """
    figure = _only_figure(authored)
    if figure is None:
        return authored, ()
    asked = sorted(
        (one for one in said if one.phrase.change is not None),
        key=lambda one: _ORDER.index(type(one.phrase.change)),
    )
    seen_as_asked = any(isinstance(one.phrase.change, _VIEWS) for one in asked)
    made = []
    free = _free_arms(asked)
    for one in asked:
        side = one.side
        if side is None and isinstance(one.phrase.change, LentArm):
            side = free.pop(0) if free else None
        changed = _changed(figure, one.phrase.change, side, may_turn=not seen_as_asked)
        posed = None if changed is None else posed_figure(authored, changed)
        if posed is not None:
            authored, figure = posed
            made.append(one)
    return authored, tuple(made)


def posed_figure(authored: AuthoredPose, figure: Figure) -> tuple[AuthoredPose, Figure] | None:
    """Return the pose with this one figure, moved or made smaller if it would leave the frame; None if not valid."""
    for candidate in (figure, fitted_figure(figure, authored)):
        posed = with_figures(authored, (candidate,))
        if posed is not None:
            return posed, candidate
    return None


def with_figures(authored: AuthoredPose, figures: tuple[Figure, ...]) -> AuthoredPose | None:
    """Return the pose made of these figures, or None where the validator finds anything."""
    solved = tuple(solve(figure) for figure in figures)
    try:
        people = tuple(project(one, authored.pose.aspect) for one in solved)
        posed = replace(authored, pose=Pose(people=people, aspect=authored.pose.aspect), figures=solved)
    except PoseRefused:
        return None
    return None if validate_pose(posed) else posed


def fitted_figure(figure: Figure, authored: AuthoredPose) -> Figure:
    """Return the figure placed so that all of it is in the frame, no larger than it was. Portraits stay cut off."""
    place = figure.placement
    if authored.support == "cut_off":
        return figure
    solved = solve(figure)
    xs, ys = zip(*_outline(solved), strict=True)
    room = 1 - 2 * _MARGIN
    stature = min(place.stature, room * authored.pose.aspect / (max(xs) - min(xs)), room / (max(ys) - min(ys)))
    # The hip anchor puts the middle of the body's points at x; hands may make the whole lopsided.
    body = [p[0] for p in solved.body if p is not None]
    off = ((max(xs) + min(xs)) - (max(body) + min(body))) / 2 * stature / authored.pose.aspect
    lowest = 1 - _MARGIN if authored.support != "air" else (1 + (max(ys) - min(ys)) * stature) / 2
    return replace(
        figure,
        placement=replace(place, stature=stature, anchor="hip", x=0.5 - off, height=lowest + min(ys) * stature),
    )


def _free_arms(asked: Iterable[Said]) -> list[int]:
    """Return the sides for what one arm does and nobody said which: the right one first, and none that was named."""
    named = {one.side for one in asked if isinstance(one.phrase.change, LentArm)}
    return [side for side in (RIGHT, LEFT) if side not in named]


def _only_figure(authored: AuthoredPose) -> Figure | None:
    solved = authored.figures[0] if len(authored.figures) == 1 else None
    return None if solved is None else solved.figure


def _changed(figure: Figure, change: Change | None, side: int | None, *, may_turn: bool) -> Figure | None:
    """Return the figure with one change; None where it does not go with how the figure is."""
    match change:
        case LentArms(slug=slug, view=view):
            return _view_from(_with_arms(figure, _lender(slug)), view, may_turn)
        case LentArm(slug=slug, side=lent, both=both):
            arm = _lender(slug)[lent]
            return _with_arms(figure, {RIGHT: arm, LEFT: arm} if both else {side or RIGHT: arm})
        case GivenArms(arm=arm):
            return _with_arms(figure, {RIGHT: arm, LEFT: arm})
        case LentLegs(slug=slug):
            owner = _figure(slug)
            turn = -owner.torso.hips_turn
            legs = turned_leg(owner.right_leg, RIGHT, turn), turned_leg(owner.left_leg, LEFT, turn)
            return _with_legs(figure, *legs)
        case GivenLegs(named=named, other=other, view=view):
            standing = _with_legs(figure, *((other, named) if side == LEFT else (named, other)))
            return None if standing is None else _view_from(standing, view * (side or RIGHT), may_turn)
        case TorsoHeld():
            return _with_torso(figure, change, side, may_turn)
        case Seen(turn=turn):
            return turned_figure(figure, turn * (side or _side_of(figure)) - figure.torso.chest_turn)
        case SeenLookingBack(chest=chest, head=head):
            # Over the right shoulder the back is turned to the viewer's right, the face to the person's right.
            over = -(side or RIGHT)
            turned = turned_figure(figure, chest * over - figure.torso.chest_turn)
            return replace(turned, head=replace(turned.head, turn=head * over))
        case HeadHeld():
            return replace(figure, head=_held(figure, change, side))
    return None


def _held(figure: Figure, change: HeadHeld, side: int | None) -> Head:
    head = figure.head
    if change == HeadHeld():
        return replace(head, turn=0.0, nod=0.0)
    if change.turn is not None:
        head = replace(head, turn=figure.torso.chest_turn + change.turn * (side or -_side_of(figure)))
    if change.nod is not None:
        head = replace(head, nod=change.nod)
    return head if change.tilt is None else replace(head, tilt=change.tilt * (side or LEFT))


def _with_arms(figure: Figure, arms: Mapping[int, Arm]) -> Figure:
    """Put arms, as on a body that faces the viewer, onto this body as it is turned."""
    turn = figure.torso.chest_turn
    right = turned_arm(arms[RIGHT], RIGHT, turn) if RIGHT in arms else figure.right_arm
    left = turned_arm(arms[LEFT], LEFT, turn) if LEFT in arms else figure.left_arm
    return replace(figure, right_arm=right, left_arm=left)


def _with_legs(figure: Figure, right: Leg, left: Leg) -> Figure | None:
    if any(not _is_upright(leg.upper) for leg in (figure.right_leg, figure.left_leg)):
        return None  # who sits, kneels or jumps needs the legs as they are
    turn = figure.torso.hips_turn
    return replace(figure, right_leg=turned_leg(right, RIGHT, turn), left_leg=turned_leg(left, LEFT, turn))


def _with_torso(figure: Figure, change: TorsoHeld, side: int | None, may_turn: bool) -> Figure:
    front = figure.torso.hips_turn
    faced = turned_figure(figure, -front)
    held = replace(faced.torso, lean=change.lean * (side or LEFT), bow=change.bow)
    bent = replace(faced, torso=held, head=replace(faced.head, nod=change.nod or faced.head.nod))
    return _view_from(turned_figure(bent, front), change.view, may_turn)


def _view_from(figure: Figure, view: float | None, may_turn: bool) -> Figure:
    """Turn a body that faces the viewer as far as the change needs to be seen."""
    if view is None or not may_turn or abs(figure.torso.chest_turn) > _SHOWN_FROM_THE_FRONT:
        return figure
    return turned_figure(figure, view - figure.torso.chest_turn)


def _is_upright(bone: Bone) -> bool:
    return abs(bone.swing) < _STANDS and abs(bone.depth) < _STANDS


def _side_of(figure: Figure) -> int:
    """Return to which side of the picture the body is turned already, the viewer's right where to none."""
    return -1 if figure.torso.chest_turn < 0 else 1


def _figure(slug: str) -> Figure:
    solved = shipped_pose(slug).figures[0]
    if solved is None:
        raise KeyError(slug)
    return solved.figure


@cache
def _lender(slug: str) -> dict[int, Arm]:
    """Return both arms of a shipped pose, turned back as on a body that faces the viewer."""
    figure = _figure(slug)
    turn = -figure.torso.chest_turn
    return {RIGHT: turned_arm(figure.right_arm, RIGHT, turn), LEFT: turned_arm(figure.left_arm, LEFT, turn)}


def _outline(solved: SolvedFigure) -> list[tuple[float, float]]:
    """Return the points to keep in the frame, with the crown and the soles that no point marks; y up."""
    parts = (solved.body, solved.hand_left, solved.hand_right, solved.face)
    points = [(p[0], p[1]) for part in parts for p in part or () if p is not None]
    crown = anatomy.HEAD_ABOVE_NECK / anatomy.LEFT_EYE[1]
    sole = 1 + anatomy.ANKLE_HEIGHT / anatomy.SHANK
    ends = ((NECK, R_EYE, crown), (NECK, L_EYE, crown), (R_KNEE, R_ANKLE, sole), (L_KNEE, L_ANKLE, sole))
    for start, end, further in ends:
        a, b = solved.body[start], solved.body[end]
        if a is not None and b is not None:
            points.append((a[0] + (b[0] - a[0]) * further, a[1] + (b[1] - a[1]) * further))
    return points

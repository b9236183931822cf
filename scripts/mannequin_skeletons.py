"""Random anatomically sound figures: the skeletons that the mannequin model is trained on.

A stance is thought of in the body's own frame (forward, to the person's left, up), in the angles a physiotherapist
uses, and only then turned to the viewer: so every stance is seen from all sides. What the pose library's own rules find
wrong with a figure (joint limits, balance, frame) is thrown away and drawn again. No library pose is read here.
"""

import math
from pathlib import Path
from random import Random

from mannequin_arms import ArmBend
from mannequin_stances import FAMILIES, LegBend, Stance

from posegen.poses import anatomy
from posegen.poses.anatomy import Vec3
from posegen.poses.authoring import AuthoredPose
from posegen.poses.errors import PoseRefused
from posegen.poses.figure import Arm, Bone, Figure, Hand, Head, Leg, Placement, SolvedFigure, Torso, project, solve
from posegen.poses.keypoints import Pose
from posegen.poses.validation import validate_pose

SIDES = (-1, 1)
_HAND_SHAPES = ("relaxed", "relaxed", "relaxed", "open", "flat", "fist", "point", "curved", "victory", "hold")
_MARGIN = 0.035
_TRIES = 400


def random_figure(rng: Random) -> tuple[str, SolvedFigure]:
    """Return a family's name and a sound figure of it that fills most of a square frame."""
    family = rng.choices(list(FAMILIES), weights=[weight for weight, _ in FAMILIES.values()])[0]
    stance_of = FAMILIES[family][1]
    for _ in range(_TRIES):
        stance = stance_of(rng)
        framed = _framed(rng, _turned(rng, stance), stance)
        if framed is not None and _is_sound(framed, stance):
            return family, framed
    raise RuntimeError(f"no sound figure of the family {family} in {_TRIES} tries")


def _is_sound(solved: SolvedFigure, stance: Stance) -> bool:
    try:
        pose = Pose(people=(project(solved, 1.0),))
    except PoseRefused:
        return False
    support = "cut_off" if stance.cut else stance.support
    return not validate_pose(_as_authored(pose, solved, support))


def _as_authored(pose: Pose, solved: SolvedFigure, support: str) -> AuthoredPose:
    return AuthoredPose(
        slug="random",
        name="random",
        description="drawn at random",
        category="random",
        difficulty="beginner",
        gender_suitability="unisex",
        tags=(),
        source_credit="Posegen",
        license_type="Apache-2.0",
        featured=False,
        display_order=0,
        support=support,
        pose=pose,
        figures=(solved,),
        path=Path("random.toml"),
    )


def _turned(rng: Random, stance: Stance) -> Figure:
    """Turn a stance to the viewer: mostly frontal or at a slant, also from the sides and from behind."""
    turn = rng.choice(
        (rng.gauss(0, 8), rng.gauss(0, 24), rng.gauss(0, 24), rng.uniform(-90, 90), rng.uniform(-180, 180))
    )
    if stance.cut:
        turn = rng.choice((rng.gauss(0, 8), rng.gauss(0, 30)))
    turn = (turn + 180) % 360 - 180
    chest = max(-180.0, min(180.0, turn + stance.twist))
    sway, pitch = math.radians(stance.sway), math.radians(stance.pitch)
    up = _to_viewer((math.sin(sway), math.cos(sway) * math.cos(pitch), math.cos(sway) * math.sin(pitch)), turn)
    torso = Torso(
        lean=math.degrees(math.atan2(up[0], up[1])),
        bow=math.degrees(math.asin(up[2])),
        hips_turn=turn,
        hips_tilt=rng.gauss(0, 3),
        chest_turn=chest,
        chest_tilt=rng.gauss(0, 4) - 0.5 * stance.sway * math.cos(math.radians(turn)),
    )
    looks = max(-180.0, min(180.0, chest + rng.choice((rng.gauss(0, 12), rng.uniform(-65, 65)))))
    if abs(chest) < 110 and rng.random() < 0.4:  # towards the viewer, as people in front of a camera do
        looks = max(chest - 65, min(chest + 65, rng.gauss(0, 15)))
    head = Head(turn=looks, nod=rng.gauss(4, 11), tilt=rng.gauss(0, 7), face=abs(looks) < 60, smile=rng.random())
    arms = [_arm(rng, side, stance.arms[index], turn, chest) for index, side in enumerate(SIDES)]
    legs = [_leg(side, stance.legs[index], turn) for index, side in enumerate(SIDES)]
    return Figure(
        placement=Placement(stature=1.0, anchor="neck", height=0.5, roll=stance.roll),
        torso=torso,
        head=head,
        right_arm=arms[0],
        left_arm=arms[1],
        right_leg=legs[0],
        left_leg=legs[1],
    )


def _framed(rng: Random, figure: Figure, stance: Stance) -> SolvedFigure | None:
    """Choose stature and place so that the figure fills the frame; a cut one ends where its stance says."""
    solved = solve(figure)
    neck = solved.body[1] or (0.0, 0.0, 0.0)
    points = list(extent_points(solved, cut=stance.cut, wide=stance.wide))
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    room = 1 - 2 * _MARGIN
    most = room / max(right - left, high - low)
    stature = min(most * rng.uniform(0.88, 1.0), 4.2 if stance.cut else 1.35)
    free_x, free_y = room - (right - left) * stature, room - (high - low) * stature
    x = _MARGIN + max(0.0, free_x) * rng.triangular(0, 1, 0.5) + (neck[0] - left) * stature
    y = _MARGIN + max(0.0, free_y) * (rng.triangular(0, 1, 0.5)) + (high - neck[1]) * stature
    if stance.cut:
        y = _MARGIN + rng.uniform(0.0, 0.06) + (high - neck[1]) * stature
    if not 0 <= x <= 1:
        return None
    placement = Placement(stature=stature, anchor="neck", height=y, x=x, roll=stance.roll)
    return solve(
        Figure(
            placement=placement,
            torso=figure.torso,
            head=figure.head,
            right_arm=figure.right_arm,
            left_arm=figure.left_arm,
            right_leg=figure.right_leg,
            left_leg=figure.left_leg,
        )
    )


def extent_points(solved: SolvedFigure, *, cut: float = 0.0, wide: bool = True) -> list[tuple[float, float]]:
    """Return points around everything that has to be in the frame; cut, wide: see Stance."""
    crown, chin = head_point(solved, (0.0, 0.19, 0.0)), head_point(solved, (0.0, 0.05, 0.03))
    around = [(crown, 0.03), (chin, 0.03)]
    left_out: set[int] = set()
    if cut:
        left_out = {8, 9, 10, 11, 12, 13} if wide else {3, 4, 6, 7, 8, 9, 10, 11, 12, 13}
    around += [(p, 0.04) for i, p in enumerate(solved.body) if p is not None and i not in left_out]
    for knee, ankle in ((9, 10), (12, 13)):
        a, b = solved.body[knee], solved.body[ankle]
        if a and b and not cut:
            around.append((_toward(a, b, 1 + anatomy.ANKLE_HEIGHT / anatomy.SHANK), 0.035))
    if wide or not cut:
        for hand in (solved.hand_right, solved.hand_left):
            around += [(p, 0.012) for p in hand or ()]
    neck = solved.body[1]
    if cut and neck is not None:
        around += [((neck[0], neck[1] - cut, neck[2]), 0.0)]
        around += [((neck[0] + side * 0.14, neck[1], 0.0), 0.0) for side in SIDES]
    return [(p[0] + dx, p[1] + dy) for p, r in around for dx, dy in ((-r, 0), (r, 0), (0, -r), (0, r))]


def head_point(solved: SolvedFigure, local: Vec3) -> Vec3:
    """Return where a point of the head's frame (see anatomy) lies in the figure's space."""
    pivot, axes = head_frame(solved)
    offset = (local[0], local[1] - anatomy.HEAD_PIVOT[1], local[2])
    x, y, z = (pivot[k] + sum(offset[j] * axes[j][k] for j in range(3)) for k in range(3))
    return x, y, z


def head_frame(solved: SolvedFigure) -> tuple[Vec3, tuple[Vec3, Vec3, Vec3]]:
    """Return the head's pivot and its axes (to the person's left, up, forward) in the figure's space."""
    torso, head, roll = solved.figure.torso, solved.figure.head, solved.figure.placement.roll
    neck = solved.body[1] or (0.0, 0.0, 0.0)
    lean, bow = math.radians(torso.lean), math.radians(torso.bow)
    axis = (math.sin(lean) * math.cos(bow), math.cos(lean) * math.cos(bow) + 1.0, math.sin(bow))
    length = math.hypot(*axis) or 1.0
    rise = _rolled((axis[0] / length, axis[1] / length, axis[2] / length), roll)
    pivot = tuple(neck[k] + rise[k] * anatomy.HEAD_PIVOT[1] for k in range(3))
    axes = tuple(_rolled(_nodded(unit, head), roll) for unit in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    return (pivot[0], pivot[1], pivot[2]), (axes[0], axes[1], axes[2])


def _nodded(point: Vec3, head: Head) -> Vec3:
    # figure.py turns a head in this order: nod, turn, tilt.
    nod, turn, tilt = math.radians(head.nod), math.radians(head.turn), math.radians(head.tilt)
    x, y, z = point
    y, z = y * math.cos(nod) - z * math.sin(nod), y * math.sin(nod) + z * math.cos(nod)
    x, z = x * math.cos(turn) + z * math.sin(turn), -x * math.sin(turn) + z * math.cos(turn)
    return x * math.cos(tilt) + y * math.sin(tilt), -x * math.sin(tilt) + y * math.cos(tilt), z


def _rolled(point: Vec3, roll: float) -> Vec3:
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    return point[0] * cos + point[1] * sin, point[1] * cos - point[0] * sin, point[2]


def _leg(side: int, bend: LegBend, turn: float) -> Leg:
    flex, out, knee, turned = (math.radians(angle) for angle in (bend.flex, bend.out, bend.knee, bend.turned))
    thigh = (side * math.sin(out), -math.cos(out) * math.cos(flex), math.cos(out) * math.sin(flex))
    hinge = (math.cos(turned), 0.0, -side * math.sin(turned))
    back = _unit(_cross(hinge, thigh))
    shank = _mixed(thigh, math.cos(knee), back, math.sin(knee))
    return Leg(upper=_bone(thigh, side, turn), lower=_bone(shank, side, turn))


def _arm(rng: Random, side: int, bend: ArmBend, turn: float, chest: float) -> Arm:
    flex, out, elbow = math.radians(bend.flex), math.radians(bend.out), math.radians(bend.elbow)
    upper = (side * math.sin(out), -math.cos(out) * math.cos(flex), math.cos(out) * math.sin(flex))
    wanted = (-side * bend.inward, bend.upward, 1.0)
    along = sum(a * b for a, b in zip(wanted, upper, strict=True))
    across = _mixed(wanted, 1.0, upper, -along)
    if math.hypot(*across) < 0.2:
        across = (-side * 0.7, 0.7, 0.2)
    lower = _mixed(upper, math.cos(elbow), _unit(across), math.sin(elbow))
    hand = None
    if rng.random() > 0.06:
        hand = Hand(shape=rng.choice(_HAND_SHAPES), palm=90 - side * chest + rng.gauss(0, 40))
    return Arm(upper=_bone(upper, side, chest), lower=_bone(_unit(lower), side, chest), hand=hand)


def _bone(direction: Vec3, side: int, turn: float) -> Bone:
    x, y, z = _to_viewer(_unit(direction), turn)
    return Bone(swing=math.degrees(math.atan2(side * x, -y)), depth=math.degrees(math.asin(max(-1.0, min(1.0, z)))))


def _to_viewer(body: Vec3, turn: float) -> Vec3:
    """Turn a vector of the body's frame (left, up, forward) to the viewer's right."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return body[0] * cos + body[2] * sin, body[1], -body[0] * sin + body[2] * cos


def _toward(a: Vec3, b: Vec3, share: float) -> Vec3:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def _mixed(a: Vec3, of_a: float, b: Vec3, of_b: float) -> Vec3:
    return a[0] * of_a + b[0] * of_b, a[1] * of_a + b[1] * of_b, a[2] * of_a + b[2] * of_b


def _cross(a: Vec3, b: Vec3) -> Vec3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(vector: Vec3) -> Vec3:
    length = math.hypot(*vector) or 1.0
    return vector[0] / length, vector[1] / length, vector[2] / length

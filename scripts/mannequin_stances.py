"""The families of stances that random figures come from: standing, walking, running, sitting and so on.

A stance is thought of in the body's own frame (forward, outward, up), in the angles a physiotherapist uses, before it
is turned to the viewer. The ranges are a healthy adult's. How often a family is drawn stands beside it in FAMILIES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mannequin_arms import ArmBend, alike, any_arm, any_arms, any_pair, swinging_arm


@dataclass(frozen=True, slots=True, kw_only=True)
class LegBend:
    """Degrees: thigh forward, thigh outward, knee bent, knee turned outward."""

    flex: float
    out: float
    knee: float
    turned: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """A body before it is turned to the viewer: right then left. pitch: spine forward; sway: to the left; degrees.

    cut: where the frame ends, in standing heights below the neck; 0 shows the whole body. wide: whether a cut figure's
    arms have to be in the frame.
    """

    legs: tuple[LegBend, LegBend]
    arms: tuple[ArmBend, ArmBend]
    pitch: float = 0.0
    sway: float = 0.0
    twist: float = 0.0
    roll: float = 0.0
    support: str = "air"
    cut: float = 0.0
    wide: bool = True


def standing(rng: Random) -> Stance:
    """Straight, or with the weight on one leg, arms at ease or busy."""
    free, straight = rng.randrange(2), rng.random() < 0.4
    legs = [
        LegBend(flex=rng.gauss(1, 2), out=rng.uniform(0, 9), knee=abs(rng.gauss(0, 3)), turned=rng.uniform(0, 20))
        if straight
        else LegBend(
            flex=rng.gauss(2, 4) + (rng.uniform(0, 18) if side == free else 0),
            out=rng.uniform(-4, 12),
            knee=abs(rng.gauss(0, 4)) + (rng.uniform(0, 28) if side == free else 0),
            turned=rng.uniform(0, 30),
        )
        for side in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=any_arms(rng),
        pitch=rng.gauss(0, 4),
        sway=rng.gauss(0, 4),
        twist=rng.gauss(0, 10),
        support="feet",
    )


def walking(rng: Random) -> Stance:
    """A step of any length, arms swinging against the legs or busy."""
    stride, ahead = rng.uniform(10, 32), rng.choice((-1, 1))
    front = LegBend(flex=stride, out=rng.uniform(0, 4), knee=rng.uniform(0, 25))
    back = LegBend(flex=-stride * rng.uniform(0.3, 0.9), out=rng.uniform(0, 4), knee=rng.uniform(5, 50))
    arms = [swinging_arm(rng, side * ahead * stride * rng.uniform(0.4, 1.3), rng.uniform(5, 45)) for side in (1, -1)]
    legs = (front, back) if ahead < 0 else (back, front)
    busy = rng.randrange(6)
    if busy < 2:
        arms[busy] = any_arm(rng)
    elif busy == 2:
        arms = list(any_pair(rng))
    return Stance(
        legs=legs,
        arms=(arms[0], arms[1]),
        pitch=rng.uniform(-2, 9),
        twist=rng.gauss(0, 9),
        sway=rng.gauss(0, 2),
    )


def running(rng: Random) -> Stance:
    """One knee high or pushing off, elbows bent."""
    ahead = rng.choice((-1, 1))
    front = LegBend(flex=rng.uniform(30, 95), out=rng.uniform(0, 8), knee=rng.uniform(25, 115))
    back = LegBend(flex=rng.uniform(-32, 5), out=rng.uniform(0, 8), knee=rng.uniform(5, 115))
    arms = [swinging_arm(rng, side * ahead * rng.uniform(20, 60), rng.uniform(50, 115)) for side in (1, -1)]
    return Stance(
        legs=(front, back) if ahead < 0 else (back, front),
        arms=(arms[0], arms[1]),
        pitch=rng.uniform(3, 26),
        twist=-ahead * rng.uniform(0, 22),
        sway=rng.gauss(0, 3),
    )


def sitting(rng: Random) -> Stance:
    """On a chair, a stool or the floor; legs alike or not, hands free or at the knees."""
    seats = _on_floor if rng.random() < 0.38 else _on_chair
    kind = rng.randrange(3)
    same = rng.random() < 0.6
    legs = [seats(rng, kind if same else rng.randrange(3)) for _ in (0, 1)]
    arms = any_arms(rng, low=0.3)
    if rng.random() < 0.35:
        flex, elbow = rng.uniform(20, 80), rng.uniform(0, 75)
        arms = alike(rng, ArmBend(flex=flex, out=rng.uniform(-5, 28), elbow=elbow, inward=rng.uniform(0, 1.5)))
    return Stance(
        legs=(legs[0], legs[1]),
        arms=arms,
        pitch=rng.uniform(-18, 38),
        twist=rng.gauss(0, 10),
        sway=rng.gauss(0, 6),
        support="seat",
    )


def _on_floor(rng: Random, kind: int) -> LegBend:
    return (
        LegBend(flex=rng.uniform(75, 95), out=rng.uniform(0, 35), knee=rng.uniform(0, 30)),
        LegBend(flex=rng.uniform(102, 125), out=rng.uniform(-3, 20), knee=rng.uniform(90, 145)),
        LegBend(flex=rng.uniform(60, 85), out=rng.uniform(35, 65), knee=rng.uniform(100, 147), turned=80),
    )[kind]


def _on_chair(rng: Random, kind: int) -> LegBend:
    return (
        LegBend(flex=rng.uniform(72, 98), out=rng.uniform(-4, 12), knee=rng.uniform(70, 105)),
        LegBend(flex=rng.uniform(68, 100), out=rng.uniform(-8, 30), knee=rng.uniform(45, 115)),
        LegBend(
            flex=rng.uniform(78, 108), out=rng.uniform(-20, 2), knee=rng.uniform(60, 100), turned=rng.uniform(-15, 15)
        ),
    )[kind]


def crouching(rng: Random) -> Stance:
    """Squats, lunges, kneeling and all fours."""
    if rng.random() < 0.15:
        return _on_all_fours(rng)
    if rng.random() < 0.45:
        legs = [LegBend(flex=rng.uniform(70, 122), out=rng.uniform(5, 35), knee=rng.uniform(85, 145)) for _ in (0, 1)]
    else:
        front = LegBend(flex=rng.uniform(70, 100), out=rng.uniform(0, 14), knee=rng.uniform(70, 110))
        back = LegBend(flex=rng.uniform(-25, 15), out=rng.uniform(0, 12), knee=rng.uniform(15, 105))
        legs = [front, back] if rng.random() < 0.5 else [back, front]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=any_arms(rng),
        pitch=rng.uniform(0, 42),
        twist=rng.gauss(0, 10),
        sway=rng.gauss(0, 5),
        support="seat",
    )


def _on_all_fours(rng: Random) -> Stance:
    """Hands towards the floor: crawling, at the start of a race, stretched out as in a plank."""
    legs = [
        LegBend(
            flex=rng.uniform(-65, 80),
            out=rng.uniform(0, 15),
            knee=rng.choice((rng.uniform(0, 20), rng.uniform(50, 125))),
        )
        for _ in (0, 1)
    ]
    if rng.random() < 0.6:
        legs[1] = LegBend(
            flex=legs[0].flex + rng.gauss(0, 8), out=legs[0].out, knee=max(0.0, legs[0].knee + rng.gauss(0, 8))
        )
    arm = ArmBend(
        flex=rng.uniform(-5, 45), out=rng.uniform(0, 18), elbow=rng.uniform(0, 35), inward=rng.uniform(0, 0.5)
    )
    return Stance(
        legs=(legs[0], legs[1]),
        arms=alike(rng, arm),
        pitch=rng.uniform(45, 92),
        twist=rng.gauss(0, 6),
        sway=rng.gauss(0, 4),
    )


def kneeling(rng: Random) -> Stance:
    """On both knees, upright or on the heels."""
    flex, knee = rng.choice(((rng.uniform(-5, 15), rng.uniform(75, 100)), (rng.uniform(50, 80), rng.uniform(125, 150))))
    legs = [
        LegBend(flex=flex + rng.gauss(0, 4), out=rng.uniform(0, 20), knee=min(152, knee + rng.gauss(0, 4)))
        for _ in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=any_arms(rng),
        pitch=rng.uniform(-8, 25),
        twist=rng.gauss(0, 10),
        sway=rng.gauss(0, 5),
        support="seat",
    )


def reaching(rng: Random) -> Stance:
    """One arm or both stretched out up, forward, down or aside, the body going along."""
    base = rng.choice((standing, standing, walking, crouching))(rng)
    far = [
        ArmBend(
            flex=rng.uniform(-10, 120),
            out=rng.uniform(10, 165),
            elbow=rng.uniform(0, 30),
            inward=rng.uniform(-0.3, 0.8),
            upward=rng.uniform(-0.5, 1),
        )
        for _ in (0, 1)
    ]
    arms = list(base.arms)
    for side in rng.choice(((0,), (1,), (0, 1))):
        arms[side] = far[side]
    return Stance(
        legs=base.legs,
        arms=(arms[0], arms[1]),
        pitch=rng.uniform(-8, 45),
        sway=rng.gauss(0, 13),
        twist=rng.gauss(0, 14),
    )


def dancing(rng: Random) -> Stance:
    """Bent knees, lifted legs, arms anywhere."""
    legs = [
        LegBend(
            flex=rng.choice((rng.gauss(5, 12), rng.uniform(-35, 85))),
            out=rng.choice((rng.uniform(0, 20), rng.uniform(0, 62))),
            knee=rng.choice((rng.uniform(0, 30), rng.uniform(0, 115))),
            turned=rng.uniform(0, 60),
        )
        for _ in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=any_arms(rng, low=0.15),
        pitch=rng.uniform(-14, 26),
        sway=rng.gauss(0, 11),
        twist=rng.gauss(0, 16),
    )


def jumping(rng: Random) -> Stance:
    """In the air: star, tuck and split."""
    spread, tuck = rng.uniform(0, 55), rng.uniform(0, 95)
    legs = [
        LegBend(
            flex=tuck + rng.gauss(0, 15), out=spread + rng.gauss(0, 6), knee=max(0.0, min(140, tuck + rng.gauss(0, 30)))
        )
        for _ in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=any_arms(rng, low=0.1),
        pitch=rng.uniform(-8, 28),
        sway=rng.gauss(0, 6),
        twist=rng.gauss(0, 10),
    )


def lying(rng: Random) -> Stance:
    """On the back, the front or the side, the head to either side of the picture."""
    base = rng.choice((standing, sitting, dancing))(rng)
    return Stance(
        legs=base.legs,
        arms=base.arms,
        pitch=rng.uniform(-10, 20),
        sway=rng.gauss(0, 6),
        twist=rng.gauss(0, 10),
        roll=rng.choice((-1, 1)) * rng.gauss(88, 9),
    )


def portrait(rng: Random) -> Stance:
    """From a headshot to the thighs, hands near the face, together or out of the frame."""
    arms = list(any_arms(rng, low=0.4, pair=0.4))
    if rng.random() < 0.4:
        side = rng.randrange(2)
        arms[side] = ArmBend(
            flex=rng.uniform(10, 70), out=rng.uniform(5, 50), elbow=rng.uniform(95, 146), inward=rng.uniform(-0.2, 0.9),
            upward=rng.uniform(0.2, 1),
        )  # fmt: skip
    return Stance(
        legs=(
            LegBend(flex=rng.gauss(0, 3), out=rng.uniform(0, 7), knee=0),
            LegBend(flex=0, out=rng.uniform(0, 7), knee=0),
        ),
        arms=(arms[0], arms[1]),
        pitch=rng.gauss(0, 6),
        sway=rng.gauss(0, 6),
        twist=rng.gauss(0, 8),
        cut=rng.choice((rng.uniform(0.12, 0.22), rng.uniform(0.2, 0.36), rng.uniform(0.3, 0.5))),
        wide=rng.random() < 0.55,
    )


def anything(rng: Random) -> Stance:
    """Every limb for itself, as far as joints allow, now and then the whole body tilted."""
    legs = [
        LegBend(
            flex=rng.uniform(-35, 120), out=rng.uniform(-8, 75), knee=rng.uniform(0, 140), turned=rng.uniform(-10, 80)
        )
        for _ in (0, 1)
    ]
    arms = [
        ArmBend(
            flex=rng.uniform(-45, 150),
            out=rng.uniform(-12, 172),
            elbow=rng.uniform(0, 142),
            inward=rng.gauss(0.6, 1.3),
            upward=rng.gauss(0.3, 0.8),
        )
        for _ in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=(arms[0], arms[1]),
        pitch=rng.uniform(-18, 65),
        sway=rng.gauss(0, 12),
        twist=rng.gauss(0, 12),
        roll=rng.choice((0, 0, 0, 0, rng.gauss(0, 40))),
    )


FAMILIES: dict[str, tuple[float, Callable[[Random], Stance]]] = {
    "standing": (21, standing),
    "walking": (10, walking),
    "running": (8, running),
    "sitting": (12, sitting),
    "crouching": (8, crouching),
    "kneeling": (5, kneeling),
    "reaching": (8, reaching),
    "dancing": (9, dancing),
    "jumping": (5, jumping),
    "lying": (4, lying),
    "portrait": (22, portrait),
    "anything": (8, anything),
}
"""How often a family is drawn, and what draws it."""

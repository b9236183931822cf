"""The families of stances that random figures come from: standing, walking, running, sitting and so on.

A stance is thought of in the body's own frame (forward, outward, up), in the angles a physiotherapist uses, before it
is turned to the viewer. The ranges are a healthy adult's. How often a family is drawn stands beside it in FAMILIES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class LegBend:
    """Degrees: thigh forward, thigh outward, knee bent, knee turned outward."""

    flex: float
    out: float
    knee: float
    turned: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmBend:
    """Upper arm forward and outward, elbow bent, in degrees; inward and upward say where the forearm goes."""

    flex: float
    out: float
    elbow: float
    inward: float = 0.3
    upward: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """A body before it is turned to the viewer: right then left. pitch: spine forward; sway: to the left; degrees."""

    legs: tuple[LegBend, LegBend]
    arms: tuple[ArmBend, ArmBend]
    pitch: float = 0.0
    sway: float = 0.0
    twist: float = 0.0
    roll: float = 0.0
    support: str = "air"
    portrait: bool = False


def standing(rng: Random) -> Stance:
    """Weight on one leg or both, arms at ease."""
    free = rng.randrange(2)
    legs = [
        LegBend(
            flex=rng.gauss(2, 4) + (rng.uniform(0, 18) if side == free else 0),
            out=abs(rng.gauss(5, 5)),
            knee=abs(rng.gauss(0, 4)) + (rng.uniform(0, 28) if side == free else 0),
            turned=rng.uniform(0, 30),
        )
        for side in (0, 1)
    ]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=(_any_arm(rng), _any_arm(rng)),
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
    arms = [_swinging_arm(rng, side * ahead * stride * rng.uniform(0.4, 1.3), rng.uniform(5, 45)) for side in (1, -1)]
    legs = (front, back) if ahead < 0 else (back, front)
    busy = rng.randrange(6)
    if busy < 2:
        arms[busy] = _any_arm(rng)
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
    arms = [_swinging_arm(rng, side * ahead * rng.uniform(20, 60), rng.uniform(50, 115)) for side in (1, -1)]
    return Stance(
        legs=(front, back) if ahead < 0 else (back, front),
        arms=(arms[0], arms[1]),
        pitch=rng.uniform(3, 26),
        twist=-ahead * rng.uniform(0, 22),
        sway=rng.gauss(0, 3),
    )


def sitting(rng: Random) -> Stance:
    """On a chair, a stool or the floor."""
    on_floor = rng.random() < 0.3
    legs = []
    for _ in (0, 1):
        if on_floor:
            choice = rng.randrange(3)
            legs.append(
                (
                    LegBend(flex=rng.uniform(75, 95), out=rng.uniform(0, 22), knee=rng.uniform(0, 30)),
                    LegBend(flex=rng.uniform(105, 125), out=rng.uniform(0, 20), knee=rng.uniform(95, 140)),
                    LegBend(flex=rng.uniform(60, 80), out=rng.uniform(35, 62), knee=rng.uniform(100, 145), turned=80),
                )[choice]
            )
        else:
            legs.append(LegBend(flex=rng.uniform(68, 100), out=rng.uniform(-6, 26), knee=rng.uniform(55, 110)))
    return Stance(
        legs=(legs[0], legs[1]),
        arms=(_any_arm(rng, low=0.5), _any_arm(rng, low=0.5)),
        pitch=rng.uniform(-18, 32),
        twist=rng.gauss(0, 10),
        sway=rng.gauss(0, 6),
        support="seat",
    )


def crouching(rng: Random) -> Stance:
    """Squats, lunges and kneeling."""
    if rng.random() < 0.45:
        legs = [LegBend(flex=rng.uniform(70, 122), out=rng.uniform(5, 35), knee=rng.uniform(85, 145)) for _ in (0, 1)]
    else:
        front = LegBend(flex=rng.uniform(70, 100), out=rng.uniform(0, 14), knee=rng.uniform(70, 110))
        back = LegBend(flex=rng.uniform(-25, 15), out=rng.uniform(0, 12), knee=rng.uniform(15, 105))
        legs = [front, back] if rng.random() < 0.5 else [back, front]
    return Stance(
        legs=(legs[0], legs[1]),
        arms=(_any_arm(rng), _any_arm(rng)),
        pitch=rng.uniform(0, 42),
        twist=rng.gauss(0, 10),
        sway=rng.gauss(0, 5),
        support="seat",
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
        arms=(_any_arm(rng), _any_arm(rng)),
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
        arms=(_any_arm(rng, low=0.15), _any_arm(rng, low=0.15)),
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
        arms=(_any_arm(rng, low=0.1), _any_arm(rng, low=0.1)),
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
    """Head and shoulders to the waist; hands near the face now and then."""
    arms = [_any_arm(rng, low=0.55) for _ in (0, 1)]
    if rng.random() < 0.45:
        side = rng.randrange(2)
        arms[side] = ArmBend(
            flex=rng.uniform(10, 70), out=rng.uniform(5, 50), elbow=rng.uniform(95, 146), inward=rng.uniform(-0.2, 0.9),
            upward=rng.uniform(0.2, 1),
        )  # fmt: skip
    return Stance(
        legs=(LegBend(flex=0, out=4, knee=0), LegBend(flex=0, out=4, knee=0)),
        arms=(arms[0], arms[1]),
        pitch=rng.gauss(0, 6),
        sway=rng.gauss(0, 6),
        twist=rng.gauss(0, 8),
        portrait=True,
    )


def _any_arm(rng: Random, low: float = 0.35) -> ArmBend:
    """Draw an arm: hanging (as often as low says), hand at hip or chest, aside, or up."""
    if rng.random() < low:
        return ArmBend(
            flex=rng.gauss(4, 12), out=abs(rng.gauss(9, 8)), elbow=abs(rng.gauss(12, 22)), inward=rng.uniform(-0.2, 0.8)
        )
    kind = rng.randrange(5)
    if kind == 0:  # hand on the hip or in front of the belly
        return ArmBend(
            flex=rng.uniform(-28, 25), out=rng.uniform(18, 58), elbow=rng.uniform(60, 125),
            inward=rng.uniform(0.3, 2.5), upward=rng.uniform(-0.8, 0.3),
        )  # fmt: skip
    if kind == 1:  # forward
        return ArmBend(
            flex=rng.uniform(25, 105), out=rng.uniform(-12, 35), elbow=rng.uniform(0, 120), inward=rng.uniform(0, 1),
            upward=rng.uniform(0, 1),
        )  # fmt: skip
    if kind == 2:  # aside
        return ArmBend(
            flex=rng.uniform(-15, 25), out=rng.uniform(50, 112), elbow=rng.uniform(0, 120),
            inward=rng.uniform(-0.2, 0.5), upward=rng.uniform(-0.6, 1.2),
        )  # fmt: skip
    if kind == 3:  # up
        return ArmBend(
            flex=rng.uniform(-10, 40), out=rng.uniform(105, 172), elbow=rng.uniform(0, 100), inward=rng.uniform(0, 1.2),
            upward=rng.uniform(0.2, 1.2),
        )  # fmt: skip
    return ArmBend(  # a hand up to the head or the shoulder
        flex=rng.uniform(10, 85), out=rng.uniform(5, 75), elbow=rng.uniform(95, 146), inward=rng.uniform(-0.2, 1),
        upward=rng.uniform(0.2, 1.2),
    )  # fmt: skip


def _swinging_arm(rng: Random, flex: float, elbow: float) -> ArmBend:
    return ArmBend(
        flex=max(-50.0, min(90.0, flex)), out=rng.uniform(3, 18), elbow=elbow, inward=rng.uniform(0, 0.5), upward=0.2
    )


FAMILIES: dict[str, tuple[float, Callable[[Random], Stance]]] = {
    "standing": (20, standing),
    "walking": (11, walking),
    "running": (10, running),
    "sitting": (12, sitting),
    "crouching": (8, crouching),
    "kneeling": (5, kneeling),
    "reaching": (9, reaching),
    "dancing": (10, dancing),
    "jumping": (6, jumping),
    "lying": (4, lying),
    "portrait": (13, portrait),
}
"""How often a family is drawn, and what draws it."""

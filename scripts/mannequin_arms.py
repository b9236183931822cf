"""What arms do in random stances: hang, rest at the hip, reach, cross, hold something with both hands.

Angles are those of mannequin_stances: thought of in the body's own frame, in degrees.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmBend:
    """Upper arm forward and outward, elbow bent, in degrees; inward and upward say where the forearm goes."""

    flex: float
    out: float
    elbow: float
    inward: float = 0.3
    upward: float = 0.0


_Span = tuple[float, float]
_Spans = tuple[_Span, _Span, _Span, _Span, _Span]

# Forward, outward, elbow, inward, upward.
_BUSY: dict[str, _Spans] = {
    "on the hip or in front of the belly": ((-28, 25), (18, 58), (60, 125), (0.3, 2.5), (-0.8, 0.3)),
    "forward": ((25, 105), (-12, 35), (0, 120), (0, 1), (0, 1)),
    "aside": ((-15, 25), (50, 112), (0, 120), (-0.2, 0.5), (-0.6, 1.2)),
    "up": ((-10, 40), (105, 172), (0, 100), (0, 1.2), (0.2, 1.2)),
    "a hand up to the head or the shoulder": ((10, 85), (5, 75), (95, 146), (-0.2, 1), (0.2, 1.2)),
    "across the body, as far as the other arm": ((5, 60), (-8, 32), (62, 130), (1.2, 4.5), (-0.3, 1)),
}
_TOGETHER: dict[str, _Spans] = {
    "crossed before the chest": ((15, 48), (0, 28), (78, 122), (1.8, 5), (-0.2, 0.7)),
    "clasped before the belly": ((-5, 32), (3, 26), (28, 90), (0.8, 3), (-0.4, 0.3)),
    "before the chest or the face, as around a cup": ((15, 75), (-5, 35), (85, 143), (0.5, 2.5), (0.2, 1.4)),
    "held out": ((35, 110), (-15, 30), (0, 90), (0, 1.2), (0, 1)),
    "over the head": ((-10, 40), (120, 174), (0, 120), (0, 1.8), (0, 1.2)),
    "on both hips": ((-28, 12), (22, 60), (62, 125), (0.5, 2.8), (-0.8, 0.2)),
}


def any_arms(rng: Random, low: float = 0.35, *, pair: float = 0.3) -> tuple[ArmBend, ArmBend]:
    """Draw both arms: that do something together as often as `pair` says, or each something of its own."""
    return any_pair(rng) if rng.random() < pair else (any_arm(rng, low), any_arm(rng, low))


def any_arm(rng: Random, low: float = 0.35) -> ArmBend:
    """Draw an arm: hanging (as often as low says) or busy."""
    if rng.random() < low:
        return ArmBend(
            flex=rng.gauss(4, 12), out=abs(rng.gauss(9, 8)), elbow=abs(rng.gauss(12, 22)), inward=rng.uniform(-0.2, 0.8)
        )
    return _within(rng, _BUSY)


def any_pair(rng: Random) -> tuple[ArmBend, ArmBend]:
    """Draw arms that do something together."""
    return alike(rng, _within(rng, _TOGETHER))


def _within(rng: Random, choices: dict[str, _Spans]) -> ArmBend:
    flex, out, elbow, inward, upward = (rng.uniform(*span) for span in rng.choice(list(choices.values())))
    return ArmBend(flex=flex, out=out, elbow=elbow, inward=inward, upward=upward)


def alike(rng: Random, arm: ArmBend) -> tuple[ArmBend, ArmBend]:
    """Return an arm twice, each a little different."""
    right, left = (
        ArmBend(
            flex=arm.flex + rng.gauss(0, 5),
            out=arm.out + rng.gauss(0, 5),
            elbow=max(0.0, min(146.0, arm.elbow + rng.gauss(0, 7))),
            inward=arm.inward + rng.gauss(0, 0.2),
            upward=arm.upward + rng.gauss(0, 0.2),
        )
        for _ in (0, 1)
    )
    return right, left


def swinging_arm(rng: Random, flex: float, elbow: float) -> ArmBend:
    """Draw an arm that swings as in walking."""
    return ArmBend(
        flex=max(-50.0, min(90.0, flex)), out=rng.uniform(3, 18), elbow=elbow, inward=rng.uniform(0, 0.5), upward=0.2
    )

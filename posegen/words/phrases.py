"""What phrases of poses change on a figure, as data; how people word them stands in wordings.toml.

Most changes lend limbs of the shipped library's figures (by slug), so that an author's care for hands and shoulders
is not repeated here. A phrase without a change can only choose a pose that shows it.
"""

from dataclasses import dataclass
from typing import Final

from posegen.poses.figure import Arm, Bone, Leg

RIGHT: Final = -1
LEFT: Final = 1


@dataclass(frozen=True, slots=True)
class LentArms:
    """Both arms of a shipped pose. `view` turns a body that nobody turned, so that the change can be seen."""

    slug: str
    view: float | None = None


@dataclass(frozen=True, slots=True)
class LentArm:
    """One arm of a shipped pose, for the side that is asked for (else the right one), or for both."""

    slug: str
    side: int
    both: bool = False


@dataclass(frozen=True, slots=True)
class GivenArms:
    """The same arm on both sides, as on a body that faces the viewer."""

    arm: Arm


@dataclass(frozen=True, slots=True)
class LentLegs:
    """Both legs of a shipped pose; only for somebody who stands."""

    slug: str


@dataclass(frozen=True, slots=True)
class GivenLegs:
    """The leg that is named (else the right one) and the other, as on a body that faces the viewer; for standers.

    `view` is counted to the named leg's side: the leg that goes forward then goes outward in the picture.
    """

    named: Leg
    other: Leg
    view: float


@dataclass(frozen=True, slots=True)
class HeadHeld:
    """Where the head goes: turn to the person's left against the chest (of a side: to it), nod down, tilt."""

    turn: float | None = None
    nod: float | None = None
    tilt: float | None = None


@dataclass(frozen=True, slots=True)
class TorsoHeld:
    """lean to the person's left (of a side: to it); bow forwards, with the view that shows it."""

    lean: float = 0.0
    bow: float = 0.0
    nod: float = 0.0
    view: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How far the body is turned to the viewer's right; of a side: to the person's own."""

    turn: float


@dataclass(frozen=True, slots=True)
class SeenLookingBack:
    """The back to the viewer, the face looking over the shoulder that is named (else the right one)."""

    chest: float
    head: float


Change = LentArms | LentArm | GivenArms | LentLegs | GivenLegs | HeadHeld | TorsoHeld | Seen | SeenLookingBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """One idea of a pose. `bases` are shipped poses that show it; `implies` what a pose that shows it shows as well.

    `people`: how many have to be in the picture, where the phrase says so.
    """

    name: str
    change: Change | None = None
    bases: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    people: tuple[int, int] | None = None


_HANDS_BEHIND_HEAD: Final = Arm(upper=Bone(swing=132, depth=-10), lower=Bone(swing=-80, depth=-12))
_HANDS_BEHIND_BACK: Final = Arm(upper=Bone(swing=13, depth=-24), lower=Bone(swing=-24, depth=-34))

STANCES: Final = (
    Phrase(name="standing", bases=("relaxed-front",)),
    Phrase(
        name="sitting",
        bases=("stool-three-quarter",),
    ),
    Phrase(
        name="sitting on the floor",
        bases=("cross-legged",),
        implies=("sitting",),
    ),
    Phrase(name="kneeling", bases=("kneeling-upright",)),
    Phrase(
        name="on one knee",
        bases=("one-knee-proposal",),
        implies=("kneeling",),
    ),
    Phrase(name="crouching", bases=("deep-crouch",)),
    Phrase(name="squatting", bases=("squat",), implies=("crouching",)),
    Phrase(name="lying", bases=("lying-on-side", "lying-on-back")),
    Phrase(name="lying on the back", bases=("lying-on-back",), implies=("lying",)),
    Phrase(
        name="lying on one side",
        bases=("lying-on-side",),
        implies=("lying",),
    ),
    Phrase(
        name="lying on the stomach",
        bases=("lying-on-stomach",),
        implies=("lying",),
    ),
    Phrase(
        name="walking",
        bases=("runway-walk", "walking-to-camera"),
    ),
    Phrase(name="running", bases=("sprint",)),
    Phrase(name="jumping", bases=("star-jump",)),
    Phrase(name="dancing", bases=("party-dance", "disco-point")),
    Phrase(name="leaning on a wall", bases=("leaning-on-wall",)),
    Phrase(
        name="portrait",
        bases=("arms-crossed-portrait", "head-and-shoulders"),
    ),
)

ARMS: Final = (
    Phrase(
        name="arms crossed",
        change=LentArms("arms-crossed"),
    ),
    Phrase(
        name="hands on hips",
        change=LentArms("hands-on-hips"),
    ),
    Phrase(
        name="hand on hip",
        change=LentArm("hands-on-hips", RIGHT),
    ),
    Phrase(
        name="arms raised",
        change=LentArms("star-jump"),
    ),
    Phrase(
        name="arm raised",
        change=LentArm("star-jump", RIGHT),
    ),
    Phrase(
        name="arms spread",
        change=LentArms("warrior-pose"),
    ),
    Phrase(
        name="arms forward",
        change=LentArms("squat", view=48),
    ),
    Phrase(
        name="hands in pockets",
        change=LentArms("hands-in-pockets"),
    ),
    Phrase(
        name="hands clasped",
        change=LentArms("hands-clasped"),
    ),
    Phrase(
        name="hands behind the back",
        change=GivenArms(_HANDS_BEHIND_BACK),
    ),
    Phrase(
        name="hands behind the head",
        change=GivenArms(_HANDS_BEHIND_HEAD),
    ),
    Phrase(
        name="hands on the head",
        change=LentArm("hand-in-hair", RIGHT, both=True),
    ),
    Phrase(
        name="hand in the hair",
        change=LentArm("hand-in-hair", RIGHT),
    ),
    Phrase(
        name="waving",
        change=LentArm("waving", RIGHT),
    ),
    Phrase(
        name="pointing up",
        change=LentArm("pointing-up", RIGHT),
    ),
    Phrase(
        name="pointing to the side",
        change=LentArm("pointing-aside", LEFT),
    ),
    Phrase(
        name="thumbs up",
        change=LentArm("thumbs-up", RIGHT),
    ),
    Phrase(
        name="victory sign",
        change=LentArm("victory-sign", RIGHT),
    ),
    Phrase(
        name="hand on the chin",
        change=LentArms("thinking-stand"),
    ),
    Phrase(
        name="hand on the heart",
        change=LentArm("laugh-hand-on-chest", RIGHT),
    ),
    Phrase(
        name="on the phone",
        change=LentArm("phone-call", RIGHT),
    ),
    Phrase(
        name="palms together",
        change=LentArms("palms-together"),
    ),
    Phrase(
        name="shrugging",
        change=LentArms("shrug"),
    ),
    Phrase(
        name="cheering",
        change=LentArms("fist-pump"),
    ),
    Phrase(
        name="arms hanging",
        change=LentArms("relaxed-front"),
    ),
)

_STEP: Final = GivenLegs(
    Leg(upper=Bone(swing=3, depth=25), lower=Bone(swing=3, depth=2)),
    Leg(upper=Bone(swing=5, depth=-12), lower=Bone(swing=5, depth=-26)),
    view=38,
)
_STEP_BACK: Final = GivenLegs(_STEP.other, _STEP.named, view=-38)
_KNEE_UP: Final = GivenLegs(
    Leg(upper=Bone(swing=8, depth=66), lower=Bone(swing=4, depth=-14)),
    Leg(upper=Bone(swing=0, depth=0), lower=Bone(swing=0, depth=-2)),
    view=38,
)

LEGS: Final = (
    Phrase(
        name="leg forward",
        change=_STEP,
    ),
    Phrase(
        name="leg back",
        change=_STEP_BACK,
    ),
    Phrase(
        name="knee raised",
        change=_KNEE_UP,
    ),
    Phrase(
        name="legs apart",
        change=LentLegs("hands-on-hips"),
    ),
    Phrase(
        name="legs crossed",
        change=LentLegs("crossed-ankles"),
    ),
)

HEAD_AND_BODY: Final = (
    Phrase(
        name="looking to the side",
        change=HeadHeld(turn=48),
    ),
    Phrase(
        name="looking away",
        change=HeadHeld(turn=52),
    ),
    Phrase(
        name="looking up",
        change=HeadHeld(nod=-24),
    ),
    Phrase(
        name="looking down",
        change=HeadHeld(nod=26),
    ),
    Phrase(
        name="looking at the camera",
        change=HeadHeld(),
    ),
    Phrase(
        name="head tilted",
        change=HeadHeld(tilt=15),
    ),
    Phrase(
        name="looking over the shoulder",
        change=SeenLookingBack(chest=138, head=62),
    ),
    Phrase(
        name="leaning forward",
        change=TorsoHeld(bow=26, view=48),
    ),
    Phrase(
        name="bowing",
        change=TorsoHeld(bow=42, nod=26, view=55),
    ),
    Phrase(
        name="leaning back",
        change=TorsoHeld(bow=-16, view=55),
    ),
    Phrase(
        name="leaning to the side",
        change=TorsoHeld(lean=15),
    ),
)

VIEWS: Final = (
    Phrase(
        name="seen from the front",
        change=Seen(0),
    ),
    Phrase(
        name="three-quarter view",
        change=Seen(36),
    ),
    Phrase(
        name="seen from the side",
        change=Seen(84),
    ),
    Phrase(
        name="seen from behind",
        change=Seen(174),
    ),
    Phrase(
        name="facing to the side",
        change=Seen(58),
    ),
)

COMPANY: Final = (
    Phrase(
        name="two people",
        people=(2, 2),
    ),
    Phrase(
        name="three people",
        people=(3, 8),
    ),
    Phrase(
        name="several people",
        people=(2, 8),
    ),
)

MIRRORED: Final = Phrase(
    name="mirrored",
)

PHRASES: Final = (*STANCES, *ARMS, *LEGS, *HEAD_AND_BODY, *VIEWS, *COMPANY, MIRRORED)
"""All of them, in the order in which their changes are made: limbs before the turn of the whole."""

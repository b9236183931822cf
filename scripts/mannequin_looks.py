"""What a training mannequin looks like and how a caption says so: clothes, hair, skin, background.

A caption names only some of what is seen, in an order and in words of its own, so that a prompt may leave out what it
likes. `CLOTHES`, `HAIR` and `SKIN` hold the colours that words stand for; a picture's own colours vary around them.
"""

from dataclasses import dataclass
from random import Random

Colour = tuple[float, float, float]

CLOTHES: dict[str, Colour] = {
    "red": (200, 38, 40),
    "orange": (236, 128, 36),
    "yellow": (240, 206, 62),
    "green": (52, 142, 66),
    "teal": (28, 136, 140),
    "blue": (48, 98, 204),
    "navy": (30, 42, 92),
    "purple": (122, 62, 158),
    "pink": (240, 142, 178),
    "brown": (122, 78, 48),
    "beige": (218, 198, 164),
    "white": (240, 240, 238),
    "grey": (138, 140, 144),
    "black": (36, 36, 40),
}
HAIR: dict[str, Colour] = {
    "black": (32, 28, 28),
    "brown": (92, 60, 38),
    "blond": (222, 184, 106),
    "red": (158, 70, 34),
    "grey": (168, 168, 170),
}
SKIN: dict[str, Colour] = {"light": (240, 204, 178), "tan": (206, 156, 116), "dark": (122, 80, 56)}
TOPS = ("t-shirt", "shirt", "sweater", "tank top", "jacket")
BOTTOMS = ("trousers", "jeans", "shorts", "skirt")
CUTS = ("short", "long", "bun", "ponytail", "bald")
GROUNDS = ("plain", "gradient", "studio")
PEOPLE = ("woman", "man", "person", "person")

ACTIONS = {
    "standing": ("standing", "standing upright", "full body"),
    "walking": ("walking", "walking along", "full body, walking"),
    "running": ("running", "running fast"),
    "sitting": ("sitting", "seated"),
    "crouching": ("crouching", "in a low lunge or squat"),
    "kneeling": ("kneeling", "on the knees"),
    "reaching": ("reaching out", "stretching"),
    "dancing": ("dancing", "a dance pose"),
    "jumping": ("jumping", "jumping high"),
    "lying": ("lying", "lying on the floor"),
    "portrait": ("portrait", "head and shoulders", "half body portrait"),
    "anything": ("full body", "a dance pose", "stretching"),
}
_QUALITY = ("professional photography, sharp focus, detailed, soft lighting", "studio photo", "soft light", "realistic")


_STYLES = ("realistic", "cinematic", "casual", "formal", "sport", "editorial", "vintage", "streetwear")
_ORIGINS = ("asian", "african", "european", "latin", "indian", "japanese", "mixed", "javanese", "nordic", "polynesian")
_AGES = ("young adult", "adult", "middle aged", "elderly", "teenager", "25-34", "in her thirties")
_DEEDS = (
    "leaning",
    "turning",
    "waving",
    "resting",
    "throwing",
    "climbing",
    "pointing",
    "balancing",
    "twisting",
    "bowing",
)
_LIMBS = ("the left arm", "both arms", "one knee", "the right leg", "the torso", "one elbow", "both hands", "the head")
_WHERE = (
    "raised high",
    "close to the body",
    "bent",
    "crossed",
    "stretched to the side",
    "behind",
    "towards the camera",
)
_NAMES = (
    "Quiet lunge",
    "Big throw",
    "Side kick",
    "Deep bow",
    "Open arms",
    "Archer",
    "Slow turn",
    "Half moon",
    "Sprint",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Names as a caption would say them; colours in 0..255 as they are painted; light: towards it, in the picture."""

    person: str
    top: str
    top_name: str
    top_colour: Colour
    bottom: str
    bottom_name: str
    bottom_colour: Colour
    shoes_colour: Colour
    cut: str
    hair_name: str
    hair_colour: Colour
    skin_name: str
    skin_colour: Colour
    ground: str
    ground_name: str
    ground_colours: tuple[Colour, Colour]
    light: tuple[float, float, float]
    build: float


def random_look(rng: Random) -> Look:
    """Draw a look; neighbours (top, bottom, background) never have the same colour's name."""
    names = list(CLOTHES)
    top_name, bottom_name, ground_name = rng.sample(names, 3)
    hair_name, skin_name = rng.choice(list(HAIR)), rng.choice(list(SKIN))
    person = rng.choice(PEOPLE)
    ground = _varied(rng, CLOTHES[ground_name], 14)
    kind = rng.choice(GROUNDS)
    other = ground if kind == "plain" else _shaded(ground, rng.uniform(0.66, 0.84))
    return Look(
        person=person,
        top=rng.choice(TOPS),
        top_name=top_name,
        top_colour=_varied(rng, CLOTHES[top_name], 16),
        bottom=rng.choice(BOTTOMS if person != "man" else BOTTOMS[:3]),
        bottom_name=bottom_name,
        bottom_colour=_varied(rng, CLOTHES[bottom_name], 16),
        shoes_colour=_varied(rng, CLOTHES[rng.choice(("black", "white", "brown", "grey", "red"))], 16),
        cut=rng.choice(CUTS if person == "man" else CUTS[:4]),
        hair_name=hair_name,
        hair_colour=_varied(rng, HAIR[hair_name], 10),
        skin_name=skin_name,
        skin_colour=_varied(rng, SKIN[skin_name], 9),
        ground=kind,
        ground_name=ground_name,
        ground_colours=(ground, other),
        light=(rng.uniform(-0.75, 0.75), rng.uniform(0.35, 0.85), 0.8),
        build=rng.uniform(0.9, 1.12),
    )


def caption(rng: Random, look: Look, family: str) -> str:
    """Write a caption: always the clothes or the background, the rest now and then.

    Two of five are like the prompts of the service, whose words about the pose are mostly spelled letter by letter.
    """
    if rng.random() < 0.4:
        return _order(rng, look)
    hair = "a bald head" if look.cut == "bald" else _hair(look)
    parts = []
    if rng.random() < 0.5:
        parts.append(f"{hair} and {look.skin_name} skin")
    elif rng.random() < 0.5:
        parts.append(rng.choice((hair, f"{look.skin_name} skin")))
    who = f"a {look.person} with {parts[0]}" if parts else rng.choice((f"a {look.person}", look.person))
    clothes = _clothes(rng, look)
    ground = _ground(rng, look)
    action = rng.choice(ACTIONS[family])
    said = [who + (f" {rng.choice(('wearing', 'in'))} {clothes}" if rng.random() < 0.75 else f", {clothes}")]
    rest = [action] if rng.random() < 0.6 else []
    if rng.random() < 0.88:
        rest.append(ground)
    rng.shuffle(rest)
    said += rest
    if rng.random() < 0.3:
        said.append(rng.choice(_QUALITY))
    return ", ".join(said)


def _order(rng: Random, look: Look) -> str:
    """Write a prompt as an order makes it: who, what the customer says, the pose's name and description, quality."""
    before = [f"{rng.choice(_STYLES)} style"] if rng.random() < 0.3 else []
    if rng.random() < 0.3:
        before.append(rng.choice(_ORIGINS))
    if rng.random() < 0.3:
        before.append(rng.choice(_AGES))
    gender = {"woman": "female ", "man": "male "}.get(look.person, "")
    who = f"{gender if rng.random() < 0.7 else ''}person"
    words = [f"{rng.choice(('wearing ', 'in ', ''))}{_clothes(rng, look)}"]
    if rng.random() < 0.4:
        words.append("bald" if look.cut == "bald" else _hair(look))
    if rng.random() < 0.3:
        words.append(f"{look.skin_name} skin")
    if rng.random() < 0.8:
        words.append(_ground(rng, look))
    rng.shuffle(words)
    deed = f"{rng.choice(_DEEDS)} with {rng.choice(_LIMBS)} {rng.choice(_WHERE)}"
    after = [rng.choice(_NAMES), deed] if rng.random() < 0.8 else []
    return ", ".join([*before, who, *words, *after, _QUALITY[0]])


def plain_caption(look: Look) -> str:
    """Write the caption that says all that a score asks about."""
    top, bottom = f"a {look.top_name} {look.top}", f"{_article(look.bottom)}{look.bottom_name} {look.bottom}"
    hair = "a bald head" if look.cut == "bald" else _hair(look)
    who = f"a {look.person} with {hair} and {look.skin_name} skin"
    return f"{who} wearing {top} and {bottom}, {look.ground_name} background"


def _clothes(rng: Random, look: Look) -> str:
    top = f"a {look.top_name} {look.top}"
    bottom = f"{_article(look.bottom)}{look.bottom_name} {look.bottom}"
    draw = rng.random()
    if draw < 0.78:
        return f"{top} and {bottom}" if rng.random() < 0.75 else f"{bottom} and {top}"
    return top if draw < 0.9 else bottom


def _article(bottom: str) -> str:
    return "a " if bottom == "skirt" else ""


def _hair(look: Look) -> str:
    if look.cut in ("bun", "ponytail"):
        return f"{look.hair_name} hair in a {look.cut}"
    return f"{look.cut} {look.hair_name} hair"


def _ground(rng: Random, look: Look) -> str:
    name = look.ground_name
    kinds = {
        "plain": (f"plain {name} background", f"{name} background", f"on a {name} background"),
        "gradient": (f"{name} gradient background", f"{name} background", f"on a {name} background"),
        "studio": (f"{name} studio background", f"{name} background", f"{name} wall and floor"),
    }
    return rng.choice(kinds[look.ground])


def _varied(rng: Random, colour: Colour, spread: float) -> Colour:
    together = rng.gauss(0, spread * 0.5)
    r, g, b = (max(12.0, min(250.0, channel + together + rng.gauss(0, spread * 0.35))) for channel in colour)
    return r, g, b


def _shaded(colour: Colour, by: float) -> Colour:
    return colour[0] * by, colour[1] * by, colour[2] * by

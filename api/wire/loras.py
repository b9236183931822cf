"""LoRAs on the wire: by name and strength, as orders and avatars ask for them and pictures tell of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from api.wire.base import Asked, Real, Told, storable
from models.loras import Lora
from posegen.loras import Loras

MOST_ASKED_LORAS = 20
"""How long a list is read; how many go together is the domain's to say."""


class LoraAsked(Asked):
    """One LoRA. What there is, and how strong it may be, is the domain's to say."""

    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(storable)
    ]
    strength: Real = Field(default=1.0, description="0 to 2; 1 is what it was trained for")


class LoraTold(Told):
    """One LoRA that something is drawn with."""

    name: str
    strength: float

    @classmethod
    def all_of(cls, kept: Iterable[Mapping[str, Any]]) -> "list[LoraTold]":
        """Describe the LoRAs of a row."""
        return [cls(name=lora["name"], strength=lora["strength"]) for lora in kept]


def loras_of(asked: Sequence[LoraAsked] | None) -> Loras:
    """Return what is asked for, as the domain knows it."""
    return tuple(Lora(name=lora.name, strength=lora.strength) for lora in asked or ())

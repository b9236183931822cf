"""The validation sheet: held-back poses, what the model draws of them with and without control, and the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mannequin_autoencoder import decode, encode
from mannequin_flow import Words, draw
from mannequin_networks import SCHEDULER
from mannequin_pictures import Shard
from PIL import Image
from torch import Tensor

from models.schedule import Schedule

_SHOWN = 8
_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Held-back pictures, their maps and captions; control: their maps' latents."""

    pictures: Any
    maps: Any
    captions: list[str]
    control: Tensor

    @classmethod
    def of(cls, shard: Shard, vae: Any) -> "Examples":
        """Take the first few of a shard."""
        maps = np.asarray(shard.maps[:_SHOWN])
        return cls(
            pictures=np.asarray(shard.pictures[:_SHOWN]),
            maps=maps,
            captions=shard.captions[:_SHOWN],
            control=standardised(vae, encode(vae, maps)),
        )


def standardised(vae: Any, latents: Tensor) -> Tensor:
    """Return latents as the transformer sees them."""
    moved: Tensor = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    return moved


def pictures_of(vae: Any, latents: Tensor) -> Any:
    """Return the pictures of standardised latents."""
    return decode(vae, latents / vae.config.scaling_factor + vae.config.shift_factor)


def sigmas(steps: int) -> tuple[float, ...]:
    """Return the noise levels that the engine uses with the exported scheduler."""
    return Schedule.from_config(SCHEDULER).sigmas(steps, 0)


def write_sheet(path: Path, networks: dict[str, Any], vae: Any, words: Words, examples: Examples) -> None:
    """Draw the examples and write them as rows: map, with control, without, through the autoencoder, the truth."""
    levels = sigmas(_STEPS)
    drawn = [
        pictures_of(vae, draw(networks, examples.control, examples.captions, words, sigmas=levels, follows=follows))
        for follows in (True, False)
    ]
    through = decode(vae, encode(vae, examples.pictures))
    rows = [examples.maps, *drawn, through, examples.pictures]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray(sheet).save(path)

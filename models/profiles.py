"""What can be drawn with which weights, as data: adding a model family is adding a profile and a runner.

Imports no torch, numpy or Pillow, so the API and the domain may read sizes and defaults from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.errors import UnknownProfile
from models.footprints import Footprint, NetworkSize

PIXEL_MULTIPLE = 16
"""The autoencoder shrinks by 8 and FLUX packs 2x2 latents into a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Weights on the Hugging Face hub: `repo` at exactly `revision`, a commit. None: what the hub calls main.

    None stands where no commit could be confirmed when this was written; MODEL_SOURCES pins it.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to draw: its weights, what it may be asked for, and what it does when not asked.

    duties: what the licence asks of whoever draws with it, told before anything is fetched.
    sizes: (width_px, height_px), all divisible by 16. control_mode: what a union ControlNet must be told for
    poses, None where it wants nothing. base and controlnet are None for weights that are built here, or that travel in
    this package: packaged (see models.mannequin). preview: a small
    autoencoder of the same latents, for previews; None where there is none. footprint: what the networks take, for a
    memory plan without the weights; a test holds it to the libraries' own classes. cpu_threads: how many threads torch
    may use on a CPU, None: its own choice; small networks gain nothing from a second one and stall badly when the cores
    are shared.
    """

    name: str
    title: str
    licence: str
    commercial_use: bool
    gated: bool
    duties: tuple[str, ...] = ()
    base: Repository | None
    controlnet: Repository | None
    packaged: bool = False
    preview: Repository | None = None
    sizes: tuple[tuple[int, int], ...]
    default_size: tuple[int, int]
    default_steps: int
    lowest_steps: int = 1
    highest_steps: int
    default_guidance: float
    highest_guidance: float = 30.0
    default_control_scale: float
    highest_control_scale: float = 2.0
    default_control_end: float
    control_mode: int | None = None
    clip_tokens: int = 77
    text_tokens: int
    cpu_max_batch: int = 4
    cpu_threads: int | None = None
    footprint: Footprint


TINY = Profile(
    name="tiny",
    title="Built-in test model (FLUX's classes, small, not trained)",
    licence="Apache-2.0",
    commercial_use=True,
    gated=False,
    base=None,
    controlnet=None,
    sizes=((256, 256), (192, 256), (256, 192), (128, 128)),
    default_size=(256, 256),
    default_steps=8,
    highest_steps=50,
    default_guidance=3.5,
    default_control_scale=0.9,
    default_control_end=0.9,
    text_tokens=64,
    cpu_threads=1,
    footprint=Footprint(
        transformer=NetworkSize(
            parameters=4_110_016, modulation=1_185_792, block_weights=2_654_208, blocks=2_664_576, largest_block=888_320
        ),
        controlnet=NetworkSize(
            parameters=2_222_016, modulation=555_840, block_weights=1_327_104, blocks=1_332_288, largest_block=888_320
        ),
        vae=NetworkSize(parameters=369_251),
        text_encoder=NetworkSize(parameters=158_720, block_weights=65_536, blocks=66_944, largest_block=33_472),
        text_encoder_2=NetworkSize(parameters=104_576, block_weights=82_048, blocks=82_304, largest_block=41_216),
        width=192,
        text_width=64,
        text_heads=4,
        residuals=2,
        pixel_channels=(32, 32),
    ),
)

MANNEQUIN = Profile(
    name="mannequin",
    title="Built-in demonstration model: draws mannequins at 128 px (FLUX's classes, small)",
    licence="Apache-2.0",
    commercial_use=True,
    gated=False,
    base=None,
    controlnet=None,
    packaged=True,
    sizes=((128, 128),),
    default_size=(128, 128),
    default_steps=12,
    highest_steps=50,
    default_guidance=3.5,
    default_control_scale=1.0,
    default_control_end=1.0,
    text_tokens=32,
    cpu_threads=1,
    footprint=Footprint(
        transformer=NetworkSize(
            parameters=5_226_432, modulation=1_408_128, block_weights=3_538_944, blocks=3_552_512, largest_block=888_320
        ),
        controlnet=NetworkSize(
            parameters=2_228_160, modulation=555_840, block_weights=1_327_104, blocks=1_332_288, largest_block=888_320
        ),
        vae=NetworkSize(parameters=965_235),
        text_encoder=NetworkSize(parameters=161_792, block_weights=65_536, blocks=66_944, largest_block=33_472),
        text_encoder_2=NetworkSize(parameters=217_664, block_weights=184_448, blocks=184_832, largest_block=92_480),
        width=192,
        text_width=96,
        text_heads=4,
        residuals=2,
        pixel_channels=(16, 32),
    ),
)

FLUX1_DEV = Profile(
    name="flux1-dev",
    title="FLUX.1-dev with ControlNet Union Pro 2.0",
    licence="FLUX.1-dev Non-Commercial License",
    commercial_use=False,
    gated=True,
    duties=(
        "Free for non-commercial use only; the same goes for the ControlNets made for it.",
        "To earn money with it you need Black Forest Labs' licence for self-hosting, which asks for reports of use.",
        "A content filter, or a person who looks at the pictures, is part of the licence.",
        "Say that pictures are made by AI where the law wants it; every file is marked so already.",
    ),
    base=Repository(repo="black-forest-labs/FLUX.1-dev", revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21"),
    controlnet=Repository(repo="Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0"),
    preview=Repository(repo="madebyollin/taef1"),
    sizes=(
        (1024, 1024),
        (832, 1216),
        (1216, 832),
        (896, 1152),
        (1152, 896),
        (768, 1344),
        (1344, 768),
        (768, 1024),
        (1024, 768),
        (768, 768),
        (512, 512),
    ),
    default_size=(1024, 1024),
    default_steps=28,
    highest_steps=50,
    default_guidance=3.5,
    default_control_scale=0.9,
    default_control_end=0.65,
    text_tokens=512,
    footprint=Footprint(
        transformer=NetworkSize(
            parameters=11_901_408_320,
            modulation=3_247_448_064,
            block_weights=8_606_711_808,
            blocks=8_608_715_776,
            largest_block=226_548_224,
        ),
        controlnet=NetworkSize(
            parameters=2_140_876_800,
            modulation=679_698_432,
            block_weights=1_358_954_496,
            blocks=1_359_289_344,
            largest_block=226_548_224,
        ),
        vae=NetworkSize(parameters=83_819_683),
        text_encoder=NetworkSize(
            parameters=123_060_480, block_weights=84_934_656, blocks=85_054_464, largest_block=7_087_872
        ),
        text_encoder_2=NetworkSize(
            parameters=4_762_310_656, block_weights=4_630_513_664, blocks=4_630_710_272, largest_block=192_948_224
        ),
        width=3072,
        text_width=4096,
        text_heads=64,
        residuals=6,
        pixel_channels=(128, 256),
    ),
)

FLUX1_DEV_UNIONPRO = replace(
    FLUX1_DEV,
    name="flux1-dev-unionpro",
    title="FLUX.1-dev with ControlNet Union Pro (the first one, or InstantX's Union)",
    controlnet=Repository(repo="Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro"),
    control_mode=4,
    footprint=replace(
        FLUX1_DEV.footprint,
        controlnet=NetworkSize(
            parameters=3_301_956_608,
            modulation=849_623_040,
            block_weights=2_264_924_160,
            blocks=2_265_451_520,
            largest_block=226_548_224,
        ),
        residuals=15,
    ),
)

PROFILES: dict[str, Profile] = {known.name: known for known in (MANNEQUIN, TINY, FLUX1_DEV, FLUX1_DEV_UNIONPRO)}

Sources = Mapping[tuple[str, str], Repository]
"""Where weights come from instead: by profile and part (base, controlnet or preview)."""

_SOURCE = re.compile(
    r"(?P<profile>[\w.-]+?)\.(?P<part>base|controlnet|preview)=(?P<repo>[\w.-]+/[\w.-]+)?(@(?P<revision>[\w.-]+))?"
)


def parse_sources(text: str) -> dict[tuple[str, str], Repository]:
    """Read `flux1-dev.controlnet=owner/name@commit, flux1-dev.base=@commit`; without a name it only pins.

    Raises ValueError, saying what is wrong.
    """
    sources: dict[tuple[str, str], Repository] = {}
    for line in filter(None, (part.strip() for part in text.split(","))):
        asked = _SOURCE.fullmatch(line)
        if asked is None or not (asked["repo"] or asked["revision"]):
            raise ValueError(f"{line!r} is not like flux1-dev.controlnet=owner/name@commit")
        part = asked["part"]
        known: Repository | None = getattr(PROFILES.get(asked["profile"]), part, None)
        if known is None:
            downloaded = [name for name, profile in PROFILES.items() if getattr(profile, part) is not None]
            raise ValueError(f"{line!r}: {part} is downloaded for {' and '.join(downloaded)}")
        sources[asked["profile"], part] = Repository(repo=asked["repo"] or known.repo, revision=asked["revision"])
    return sources


def sourced(profile: Profile, sources: Sources) -> Profile:
    """Return the profile with its weights from elsewhere, as far as `sources` says so."""
    moved: dict[str, Any] = {part: repository for (name, part), repository in sources.items() if name == profile.name}
    return replace(profile, **moved)


def profile(name: str) -> Profile:
    """Find a profile by name. Raises UnknownProfile."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(name, tuple(PROFILES)) from None

"""What can be drawn with which weights, as data: adding a model family is adding a profile and a runner.

Imports no torch, numpy or Pillow, so the API and the domain may read sizes and defaults from here.
"""

from dataclasses import dataclass

from models.errors import UnknownProfile

PIXEL_MULTIPLE = 16
"""The autoencoder shrinks by 8 and FLUX packs 2x2 latents into a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Weights on the Hugging Face hub: `repo` at exactly `revision`. None: whatever the local cache holds as main."""

    repo: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to draw: its weights, what it may be asked for, and what it does when not asked.

    sizes: (width_px, height_px), all divisible by 16. control_mode: what a union ControlNet must be told for
    poses, None where it wants nothing. base and controlnet are None for weights that are built here. preview: a small
    autoencoder of the same latents, for previews; None where there is none. cpu_threads: how many threads torch may use
    on a CPU, None: its own choice; small networks gain nothing from a second one and stall badly when the cores are
    shared.
    """

    name: str
    title: str
    licence: str
    commercial_use: bool
    gated: bool
    base: Repository | None
    controlnet: Repository | None
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
    cuda_max_batch: int = 4
    cpu_threads: int | None = None


TINY = Profile(
    name="tiny",
    title="Built-in demonstration model (FLUX's classes, small)",
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
    cuda_max_batch=8,
    cpu_threads=1,
)

FLUX1_DEV = Profile(
    name="flux1-dev",
    title="FLUX.1-dev with ControlNet Union Pro 2.0",
    licence="FLUX.1-dev Non-Commercial License",
    commercial_use=False,
    gated=True,
    base=Repository(repo="black-forest-labs/FLUX.1-dev"),
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
)

PROFILES: dict[str, Profile] = {known.name: known for known in (TINY, FLUX1_DEV)}


def profile(name: str) -> Profile:
    """Find a profile by name. Raises UnknownProfile."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(name, tuple(PROFILES)) from None

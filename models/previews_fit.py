"""The linear view of an autoencoder: which colour each latent channel stands for, found by least squares at load.

It is fitted to a few small pictures that the model itself draws in a few steps, and to what it expects of them after
the first, because a linear map is only right where the latents really are: fitted to encoded or random pictures it was
off by twice as much on the built-in model.
Their noise comes from the CPU with fixed seeds, so the same weights give the same map on every start.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from models import layout
from models.denoising import Conditions
from models.modulation import Conditioning, vectors_at
from models.previews import LinearView, expected
from models.profiles import PIXEL_MULTIPLE
from models.runner import FluxRunner
from models.schedule import image_tokens

_COLOURS = ("red", "green", "blue", "yellow", "white", "black", "orange", "purple", "pink", "brown", "grey", "cyan")
_PICTURES = 8
_STEPS = 3
_SHRINK = 4
"""The pictures are so much smaller than the profile's own: all together cost less than one step of one of those."""
_RIDGE = 1e-2
"""Of each channel's variance; a channel that hardly moves is left out by the same number of its own, squared."""


def fit_linear(runner: FluxRunner, note: str | None = None) -> LinearView:
    """Fit the view of a runner's autoencoder. Raises what torch raises for lack of memory."""
    width, height = (side // _SHRINK // PIXEL_MULTIPLE * PIXEL_MULTIPLE for side in runner.profile.default_size)
    size = (width, height)
    with torch.inference_mode():
        drawn = _draw(runner, size)
        decoded = runner.decode(drawn, size)
        decoded.wait()
        latents = layout.unpack(drawn.cpu(), height // 8, width // 8).double()
        pixels = torch.from_numpy(decoded.pixels).permute(0, 3, 1, 2).double()
        weights, bias = _least_squares(_rows(latents), _rows(nn.functional.avg_pool2d(pixels, 8)))
    on_device = [part.float().clone().to(runner.device) for part in (weights, bias)]
    return LinearView(on_device[0].contiguous(), on_device[1], note)


def _draw(runner: FluxRunner, size: tuple[int, int]) -> Tensor:
    """Draw pictures of many colours, with and without a figure.

    Returns packed latents: all as they are expected after the first step, then all as they are in the end.
    """
    words = runner.encode_words(list(_prompts()))
    controls = runner.encode_controls([_figure(size, number) for number in range(_PICTURES)])
    led, alone = (
        Conditions(
            embeds=torch.stack([row.embeds for row in words]),
            pooled=torch.stack([row.pooled for row in words]),
            control=control,
        )
        for control in (controls, None)
    )
    latents = torch.stack([runner.starting_noise(seed, *size) for seed in range(_PICTURES)])
    sigmas = runner.parts.schedule.sigmas(_STEPS, image_tokens(*size))
    strengths = (runner.profile.default_guidance, runner.profile.default_control_scale)
    tables = runner.tables(
        [Conditioning(pooled=row.pooled, guidance=runner.profile.default_guidance, sigmas=sigmas) for row in words]
    )
    kept = []
    for done, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        vectors = vectors_at(tables, [done - 1] * _PICTURES)
        numbers = runner.row_numbers([(sigma, sigma_next, *strengths)] * _PICTURES, vectors)
        is_led = done / _STEPS <= runner.profile.default_control_end
        moved, _velocity = runner.denoise(latents, led if is_led else alone, numbers, size)
        if done in (1, _STEPS):
            kept.append(expected(latents, moved, sigma, sigma_next))
        latents = moved
    return torch.cat(kept)


def _prompts() -> Iterator[str]:
    for number in range(_PICTURES):
        coat, wall = _COLOURS[number], _COLOURS[(5 * number + 3) % len(_COLOURS)]
        yield f"a person in a {coat} coat before a {wall} wall"


def _figure(size: tuple[int, int], number: int) -> Image.Image:
    """Draw a stick figure as a pose map has it; every third map is empty."""
    width, height = size
    picture = Image.new("RGB", size)
    if number % 3 == 0:
        return picture
    draw = ImageDraw.Draw(picture)
    reach = 0.1 * number
    limbs: Sequence[tuple[tuple[tuple[float, float], ...], tuple[int, int, int]]] = (
        (((0.5, 0.2), (0.5, 0.55)), (0, 0, 153)),
        (((0.5, 0.3), (0.2, 0.2 + reach)), (153, 102, 0)),
        (((0.5, 0.3), (0.8, 0.8 - reach)), (102, 153, 0)),
        (((0.5, 0.55), (0.4, 0.92)), (0, 153, 51)),
        (((0.5, 0.55), (0.6, 0.92)), (0, 102, 153)),
    )
    for points, colour in limbs:
        draw.line([(x * width, y * height) for x, y in points], fill=colour, width=max(2, width // 24))
    return picture


def _rows(planes: Tensor) -> Tensor:
    """(b, c, h, w) -> (b * h * w, c)."""
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


def _least_squares(latents: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Solve latents @ weights.T + bias = colours; returns weights (3, c) and bias (3,)."""
    middle, grey = latents.mean(dim=0), colours.mean(dim=0)
    moved = latents - middle
    gram = moved.T @ moved / len(moved)
    gram += torch.diag(_RIDGE * gram.diagonal() + _RIDGE**2)
    weights = torch.linalg.solve(gram, moved.T @ (colours - grey) / len(moved)).T
    return weights, grey - weights @ middle

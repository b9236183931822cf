"""The two ends of drawing: key-points to a control map, pixels to files."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gpu_worker.drawn import drawn_of
from gpu_worker.pictures import MADE_BY_AI, THUMBNAIL_PX, EncodedPicture, encode_picture, request_for
from models.loras import Lora
from models.profiles import TINY
from models.requests import Finished
from posegen.identifiers import seed_of_redraw
from posegen.leases import Claim
from posegen.poses import PoseError

PEOPLE = {
    "people": [{"pose_keypoints_2d": [value for n in range(18) for value in (0.3 + 0.02 * n, 0.2 + 0.03 * n, 1.0)]}],
    "canvas_width": 1,
    "canvas_height": 1,
}
CLAIM = Claim(
    item_id="i1",
    attempt=3,
    kind="pose",
    generation_id="g1",
    user_id="ann",
    variation_key="p-v0",
    pose_id="p",
    people=PEOPLE,
    prompt="a secret wish",
    seed=42,
    redraw=0,
    width_px=192,
    height_px=256,
    steps=4,
    guidance=3.5,
    control_scale=0.7,
    control_end=0.8,
    alone=False,
)


def grey(width: int = 192, height: int = 256) -> np.ndarray:
    return np.full((height, width, 3), 0.5, dtype=np.float32)


def encoded_of(pixels: np.ndarray, claim: Claim = CLAIM, *, steps_skipped: int = 0) -> EncodedPicture:
    outcome = Finished(
        key="i1:3", pixels=pixels, denoise_s=1.0, steps_run=4, backend="tiny", pose_applied=True,
        steps_skipped=steps_skipped,
    )  # fmt: skip
    return encode_picture(drawn_of(claim, outcome), TINY)


def test_the_pose_is_drawn_at_the_size_of_the_picture() -> None:
    request = request_for(CLAIM)

    assert request.control is not None
    assert request.control.size == (192, 256)
    assert request.control.getextrema() != ((0, 0), (0, 0), (0, 0))


def test_everything_the_customer_chose_reaches_the_engine() -> None:
    request = request_for(CLAIM)

    assert (request.prompt, request.seed, request.steps) == ("a secret wish", 42, 4)
    assert (request.guidance, request.control_scale, request.control_end) == (3.5, 0.7, 0.8)


def test_key_points_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(PoseError):
        request_for(replace(CLAIM, people={"people": "nobody"}))


def test_pixels_are_rounded_once_and_never_wrap() -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.float32)
    pixels[0, 0] = (1.2, -0.2, 0.5)

    with Image.open(io.BytesIO(encoded_of(pixels).png)) as png:
        assert png.getpixel((0, 0)) == (255, 0, 128)


def test_a_picture_says_that_a_model_made_it_but_not_what_was_asked() -> None:
    encoded = encoded_of(grey())

    assert MADE_BY_AI.encode() in encoded.png
    assert b"secret wish" not in encoded.png
    with Image.open(io.BytesIO(encoded.png)) as png:
        assert png.info["Source"] == "AI-generated with tiny, seed 42"


def test_a_picture_names_its_loras_and_asks_the_engine_for_them() -> None:
    claim = replace(CLAIM, loras=(Lora(name="film", strength=0.8), Lora(name="Ünï", strength=2.0)))
    encoded = encoded_of(grey(), claim)

    with Image.open(io.BytesIO(encoded.png)) as png:
        assert png.info["Source"] == "AI-generated with tiny, LoRA film at 0.8, LoRA Ünï at 2, seed 42"
    assert request_for(claim).loras == claim.loras


def test_a_picture_of_extrapolated_steps_says_so() -> None:
    encoded = encoded_of(grey(), steps_skipped=2)

    with Image.open(io.BytesIO(encoded.png)) as png:
        assert png.info["Source"] == "AI-generated with tiny, seed 42, 2 of 4 steps extrapolated"


def test_a_redraw_has_a_seed_of_its_own_and_its_file_names_it() -> None:
    again = replace(CLAIM, redraw=1)
    request, encoded = request_for(again), encoded_of(grey(), again)

    assert request.seed == seed_of_redraw(42, 1) != 42
    assert request.key != request_for(CLAIM).key
    with Image.open(io.BytesIO(encoded.png)) as png:
        assert png.info["Source"] == f"AI-generated with tiny, seed {request.seed}"


def test_the_thumbnail_is_a_small_webp_of_the_same_shape() -> None:
    encoded = encoded_of(grey(768, 1024))

    with Image.open(io.BytesIO(encoded.thumbnail)) as thumbnail:
        assert thumbnail.format == "WEBP"
        assert thumbnail.size == (THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX)

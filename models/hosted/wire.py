"""What travels between the hosted engine and our handler: JSON, with pictures as base64 PNG. Both ends are here.

The control map travels as it was drawn, so the endpoint needs no renderer and follows exactly what a local card would.
Numbers of a picture are rounded to 8 bits on the way, as the finished file has them. Nothing that arrives is trusted:
counts, sizes and types are checked before a picture is decoded.
"""

import base64
import binascii
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.arrival import flaw
from models.errors import BadPicture, EndpointSaid, ModelsError, RequestRefused
from models.loras import Lora
from models.requests import Failed, Finished, Outcome, PictureRequest, check_request

if TYPE_CHECKING:
    from models.profiles import Profile

FORMAT = 1
"""Of the messages; both ends refuse another."""
MOST_PICTURES = 8
"""In one call."""
MOST_PROMPT_CHARS = 20_000
MOST_CONTROL_CHARS = 8_000_000
MOST_MESSAGE_CHARS = 300


class WireRefused(ValueError):
    """A message that is not one. `str()` says what is wrong, without quoting it.

    No ModelsError: each end turns it into its own.
    """


class CallRefused(WireRefused):
    """The handler answered that it draws no such call: another profile or version, or an engine that broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture that came. pixels: (height, width, 3) float32 in 0..1, of 8 bits."""

    pixels: NDArray[np.float32]
    pose_applied: bool
    denoise_s: float
    steps_run: int
    steps_skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrawn:
    """A picture that did not come. again: the endpoint broke, and the picture is not the reason."""

    error: ModelsError
    again: bool = False


Answered = Drawn | Undrawn


def write_call(profile: str, requests: Sequence[PictureRequest]) -> bytes:
    """Return the body of a call."""
    pictures = [
        {
            "prompt": request.prompt,
            "control": None if request.control is None else _to_png(request.control),
            "width": request.width,
            "height": request.height,
            "seed": request.seed,
            "steps": request.steps,
            "guidance": request.guidance,
            "controlScale": request.control_scale,
            "controlEnd": request.control_end,
            "loras": [{"name": lora.name, "strength": lora.strength} for lora in request.loras],
        }
        for request in requests
    ]
    return json.dumps({"inputs": {"format": FORMAT, "profile": profile, "pictures": pictures}}).encode()


def read_call(body: Any, profile: "Profile") -> list[PictureRequest | ModelsError]:
    """Return what a call asks for, and instead of each picture that cannot be drawn its error. Keys count from 0.

    Raises WireRefused when it is no call for this profile at all.
    """
    asked = body.get("inputs") if isinstance(body, Mapping) else None
    if not isinstance(asked, Mapping) or asked.get("format") != FORMAT:
        raise WireRefused(f"inputs is not a call of format {FORMAT}; the worker and the handler must be of one version")
    if asked.get("profile") != profile.name:
        raise WireRefused(f"this endpoint draws {profile.name}")
    pictures = asked.get("pictures")
    if not isinstance(pictures, list) or not 1 <= len(pictures) <= MOST_PICTURES:
        raise WireRefused(f"pictures is a list of 1 to {MOST_PICTURES}")
    return [_read_asked(str(index), picture, profile) for index, picture in enumerate(pictures)]


def _read_asked(key: str, picture: Any, profile: "Profile") -> PictureRequest | ModelsError:
    try:
        request = PictureRequest(
            key=key,
            prompt=_text(picture["prompt"], MOST_PROMPT_CHARS),
            control=_control(picture["control"], (_whole(picture["width"]), _whole(picture["height"]))),
            width=_whole(picture["width"]),
            height=_whole(picture["height"]),
            seed=_whole(picture["seed"]),
            steps=_whole(picture["steps"]),
            guidance=_number(picture["guidance"]),
            control_scale=_number(picture["controlScale"]),
            control_end=_number(picture["controlEnd"]),
            loras=tuple(
                Lora(name=_text(lora["name"], 100), strength=_number(lora["strength"])) for lora in picture["loras"]
            ),
        )
        check_request(request, profile)
    except RequestRefused as refused:
        return refused
    except (KeyError, TypeError, WireRefused) as error:
        return EndpointSaid("bad_call", f"Picture {key} of the call cannot be read: {error}.")
    return request


def write_answer(profile: str, outcomes: Sequence[Outcome | ModelsError]) -> dict[str, Any]:
    """Return the body of an answer, in the order of the call's pictures."""
    return {"format": FORMAT, "profile": profile, "pictures": [_write_outcome(outcome) for outcome in outcomes]}


def write_refusal(message: str) -> dict[str, Any]:
    """Return the body of an answer to a call of which nothing was drawn, for no fault of its pictures."""
    return {"format": FORMAT, "error": {"message": message[:MOST_MESSAGE_CHARS]}}


def _write_outcome(outcome: Outcome | ModelsError) -> dict[str, Any]:
    if isinstance(outcome, Finished):
        return {
            "image": _to_png(Image.fromarray(np.rint(np.clip(outcome.pixels, 0.0, 1.0) * 255.0).astype(np.uint8))),
            "poseApplied": outcome.pose_applied,
            "denoiseS": round(outcome.denoise_s, 4),
            "stepsRun": outcome.steps_run,
            "stepsSkipped": outcome.steps_skipped,
        }
    if isinstance(outcome, Failed):
        return _write_outcome(outcome.error)
    if isinstance(outcome, ModelsError):
        return {"error": {"code": outcome.code, "message": str(outcome)[:MOST_MESSAGE_CHARS], "again": False}}
    return {"error": {"code": "not_drawn", "message": "The endpoint was stopped.", "again": True}}


def read_answer(body: bytes, profile: str, requests: Sequence[PictureRequest]) -> list[Answered]:
    """Return what came for each request. Raises WireRefused for what is no answer, CallRefused for a refusal."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise WireRefused("the answer is no JSON") from e
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise WireRefused(f"the answer is not of format {FORMAT}; copy this version's handler to the endpoint")
    if "error" in told:
        raise CallRefused(f"the handler draws nothing: {_said(told['error'])}")
    pictures = told.get("pictures")
    if told.get("profile") != profile or not isinstance(pictures, list) or len(pictures) != len(requests):
        raise WireRefused(f"the answer is not {len(requests)} pictures of {profile}")
    return [_read_drawn(picture, request) for picture, request in zip(pictures, requests, strict=True)]


def _read_drawn(picture: Any, request: PictureRequest) -> Answered:
    if not isinstance(picture, Mapping):
        raise WireRefused("a picture of the answer cannot be read")
    error = picture.get("error")
    if error is not None:
        if not isinstance(error, Mapping):
            raise WireRefused("an error of the answer cannot be read")
        code = error.get("code")
        said = EndpointSaid(code[:64] if isinstance(code, str) and code else "endpoint_error", _said(error))
        return Undrawn(error=said, again=error.get("again") is True)
    try:
        pixels = read_picture(_bytes_of(picture["image"]), request.size)
        steps_run, skipped = _whole(picture["stepsRun"]), _whole(picture["stepsSkipped"])
        drawn = Drawn(
            pixels=pixels,
            pose_applied=picture["poseApplied"] is True,
            denoise_s=max(0.0, _number(picture["denoiseS"])),
            steps_run=steps_run,
            steps_skipped=skipped,
        )
    except KeyError as e:
        raise WireRefused(f"a picture of the answer has no {e.args[0]}") from e
    if request.wants_pose and not drawn.pose_applied and _has_control_step(request):
        raise WireRefused("a picture does not follow the pose that was sent")
    return judged(drawn)


def judged(drawn: Drawn) -> Answered:
    """Return a picture that can be shown as it is, and a black one as BadPicture."""
    reason = flaw(float(drawn.pixels.max()))
    return drawn if reason is None else Undrawn(error=BadPicture(reason))


def read_picture(content: bytes, size: tuple[int, int]) -> NDArray[np.float32]:
    """Decode a picture of exactly `size` to (height, width, 3) in 0..1. Raises WireRefused."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            return pixels_of(picture, size)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as e:
        if isinstance(e, WireRefused):
            raise
        raise WireRefused("a picture of the answer cannot be decoded") from e


def pixels_of(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the pixels of an opened picture; its size is checked before it is decoded. Raises WireRefused, OSError."""
    if picture.size != size:
        raise WireRefused(f"a picture is {picture.size[0]}x{picture.size[1]}, not {size[0]}x{size[1]}")
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255.0)


def _has_control_step(request: PictureRequest) -> bool:
    return 1 / request.steps <= request.control_end


def _control(told: Any, size: tuple[int, int]) -> Image.Image | None:
    if told is None:
        return None
    if not isinstance(told, str) or len(told) > MOST_CONTROL_CHARS:
        raise WireRefused("the control picture is too large")
    try:
        with Image.open(io.BytesIO(_bytes_of(told)), formats=("PNG",)) as picture:
            if picture.size != size:
                raise WireRefused(f"the control picture is not {size[0]}x{size[1]}")
            return picture.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as e:
        raise WireRefused("the control picture is no PNG") from e


def _to_png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def _bytes_of(told: Any) -> bytes:
    if not isinstance(told, str):
        raise WireRefused("a picture is no text of base64")
    try:
        return base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError) as e:
        raise WireRefused("a picture is no base64") from e


def _said(error: Any) -> str:
    message = error.get("message") if isinstance(error, Mapping) else None
    return message[:MOST_MESSAGE_CHARS] if isinstance(message, str) and message else "it did not say why"


def _text(told: Any, most_chars: int) -> str:
    if not isinstance(told, str) or len(told) > most_chars:
        raise WireRefused("a text is missing or too long")
    return told


def _whole(told: Any) -> int:
    if not isinstance(told, int) or isinstance(told, bool):
        raise WireRefused("a whole number is missing")
    return told


def _number(told: Any) -> float:
    if not isinstance(told, int | float) or isinstance(told, bool) or not math.isfinite(told):
        raise WireRefused("a number is missing")
    return float(told)

"""From a claim to what the engine is asked, and from its pixels to files: the two ends of drawing."""

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpu_worker.desk import key_of
from gpu_worker.drawn import Drawn
from models.profiles import Profile
from models.requests import PictureRequest
from posegen.leases import Claim
from posegen.logs import about_picture
from posegen.poses.drawing import draw_pose
from posegen.poses.openpose import pose_from_openpose

PNG_LEVEL = 1
"""zlib's fastest: a quarter of the time of level 6 for a tenth more bytes."""
THUMBNAIL_PX = 384
THUMBNAIL_QUALITY = 82
MADE_BY_AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for pictures made by a model; the EU's AI Act asks for a mark that machines can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPicture:
    """A picture as files: PNG, and a WebP thumbnail of at most THUMBNAIL_PX a side."""

    png: bytes
    thumbnail: bytes


def about_claim(claim: Claim) -> AbstractContextManager[object]:
    """Return a block whose lines name the claim's picture, its generation and the request that ordered it."""
    return about_picture(generation_id=claim.generation_id, item_id=claim.item_id, request_id=claim.request_id)


def request_for(claim: Claim) -> PictureRequest:
    """Return what the engine is asked for a claim, with the pose drawn at the picture's size.

    Raises PoseError for key-points that cannot be read.
    """
    control = None
    if claim.people is not None:
        control = draw_pose(pose_from_openpose(claim.people).pose, claim.width_px, claim.height_px)
    return PictureRequest(
        key=key_of(claim),
        prompt=claim.prompt,
        control=control,
        width=claim.width_px,
        height=claim.height_px,
        seed=claim.drawing_seed,
        steps=claim.steps,
        guidance=claim.guidance,
        control_scale=claim.control_scale,
        control_end=claim.control_end,
        loras=claim.loras,
        allow_poseless=claim.allow_poseless,
    )


def encode_picture(drawn: Drawn, profile: Profile) -> EncodedPicture:
    """Return the files of a drawn picture."""
    png = io.BytesIO()
    drawn.picture.save(png, format="PNG", compress_level=PNG_LEVEL, pnginfo=_marks(drawn, profile))
    small = drawn.picture.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    thumbnail = io.BytesIO()
    small.save(thumbnail, format="WEBP", quality=THUMBNAIL_QUALITY, method=4)
    return EncodedPicture(png=png.getvalue(), thumbnail=thumbnail.getvalue())


def _marks(drawn: Drawn, profile: Profile) -> PngInfo:
    """Return the PNG's text: that a model made it, with which weights, LoRAs and seed. Never the prompt.

    Skipped steps, which ran no network, are told too: such a picture is not exactly the model's.
    """
    claim, steps_skipped = drawn.claim, drawn.steps_skipped
    marks = PngInfo()
    marks.add_text("Software", "Posegen")
    skipped = f", {steps_skipped} of {claim.steps} steps extrapolated" if steps_skipped else ""
    loras = "".join(f", LoRA {lora.name} at {lora.strength:g}" for lora in claim.loras)
    marks.add_text("Source", f"AI-generated with {profile.name}{loras}, seed {claim.drawing_seed}{skipped}")
    marks.add_itxt(
        "XML:com.adobe.xmp",
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"Iptc4xmpExt:DigitalSourceType={quoteattr(MADE_BY_AI)}/></rdf:RDF></x:xmpmeta>",
    )
    return marks

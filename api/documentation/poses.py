"""Key-points in and out. OpenPose numbers joints by the person's own right and left."""

from pathlib import Path
from typing import Any, Final

from api.documentation.operation import Operation, Operations
from api.documentation.story import NOBODY, POSE, POSE_TOLD
from api.errors import TooManyRequests
from api.routes import POSE_GENERATOR
from posegen.detections import no_detector
from posegen.errors import Conflict, NotFound, TooBusy, TooLarge, UnsupportedMedia
from posegen.poses.errors import MapSizeRefused, PoseRefused

_ROOT = f"{POSE_GENERATOR}/poses"
_JOINTS = (
    *((0.496, 0.169), (0.492, 0.248), (0.402, 0.248), (0.386, 0.388), (0.38, 0.52), (0.583, 0.248), (0.598, 0.388)),
    *((0.606, 0.52), (0.441, 0.495), (0.426, 0.705), (0.415, 0.916), (0.544, 0.495), (0.562, 0.705), (0.577, 0.916)),
    *((0.479, 0.148), (0.511, 0.148), (0.457, 0.155), (0.527, 0.155)),
)
"""COCO-18: nose, neck, right shoulder, elbow and wrist, then the left ones, hips, knees, ankles, eyes and ears."""
PERSON: Final[dict[str, Any]] = {"pose_keypoints_2d": [number for x, y in _JOINTS for number in (x, y, 1.0)]}
_PERSON_TOLD: dict[str, Any] = {
    **PERSON,
    "hand_left_keypoints_2d": None,
    "hand_right_keypoints_2d": None,
    "face_keypoints_2d": None,
}
_CANVAS = {"canvas_width": 512, "canvas_height": 512}
_ASKED: dict[str, Any] = {"people": [PERSON], **_CANVAS}
_REFUSED = PoseRefused("people[0].pose_keypoints_2d", "has 7 numbers, but must have x, y, c for each of 18 points")
_PHOTO = "(the bytes of a JPEG, PNG or WebP of at most 10 MB, 512 to 4096 px a side)"
_DETECTION: Final = "01a20bbd-25c1-7f30-9a51-6f1b6a0c9d11"

OPERATIONS: Operations = {
    f"POST {_ROOT}/import": Operation(
        id="importPose",
        requests={"person": {"people": [PERSON]}, "mirrored": {**_ASKED, "mirror": True, "fit": True, "aspect": 0.75}},
        answer={
            "people": [_PERSON_TOLD],
            **_CANVAS,
            "assumptions": ["The canvas size is missing; key-points in 0..1 were taken to lie on a square canvas."],
        },
        refuses=(_REFUSED,),
    ),
    f"POST {_ROOT}/render": Operation(
        id="renderPose",
        requests={"map": {**_ASKED, "rendering": "map", "width": 512, "height": 512}},
        refuses=(_REFUSED, MapSizeRefused(9000, 512, 64, 4096)),
        headers=("ETag", "Cache-Control"),
    ),
    f"POST {_ROOT}/suggest": Operation(
        id="suggestPoses",
        requests={"words": {"text": "standing with arms crossed", "limit": 1}},
        answer={
            "candidates": [
                {
                    "people": [_PERSON_TOLD],
                    **_CANVAS,
                    "name": "Relaxed front stand",
                    "poseId": POSE,
                    "score": 0.98,
                    "whyChosen": 'The pose "Relaxed front stand" shows standing; was changed to: arms crossed.',
                    "shown": ["standing"],
                    "changed": ["arms crossed"],
                    "notShown": [],
                    "mirrored": False,
                    "neutral": False,
                    "unchanged": False,
                    "previewUrl": POSE_TOLD["previewImageUrl"],
                }
            ]
        },
    ),
    f"POST {_ROOT}/detect": Operation(
        id="detectPose",
        requests={"photo": {"image": _PHOTO}},
        answer={"detectionId": _DETECTION},
        refuses=(
            TooLarge("A photo has at most 10 MB.", "image"),
            UnsupportedMedia("A photo is a JPEG, PNG or WebP file; this is none of them.", "image"),
            TooManyRequests(21, {"RateLimit-Policy": '"uploads";q=10;w=60', "RateLimit": '"uploads";r=0;t=21'}),
            no_detector(
                ["box-1-4711: no weights: rtmlib: yolox_l.onnx not in var/detectors nor in the Hugging Face cache"],
                Path("var/detectors"),
            ),
            Conflict("10 of your photos are still waiting; please upload more when one of them is done."),
            TooBusy(),
        ),
        headers=("Location",),
    ),
    f"GET {_ROOT}/detect/{{detection_id}}": Operation(
        id="readDetection",
        answer={"status": "completed", "people": [_PERSON_TOLD], **_CANVAS, "errorMessage": None},
        refuses=(NotFound("detection", [NOBODY]),),
    ),
}

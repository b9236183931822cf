"""rtmlib: a YOLOX model finds people, a whole-body model (RTMW, DWPose) finds 133 points of each. ONNX, no torch.

Its drawing is never used: it mixes up colours. Three of its habits are met here: it downloads what it does not find, so
paths are checked first; with a model of 80 kinds of things it takes dogs for people unless the kinds are asked for; and
it wants each model's own order of colours from its caller, BGR for YOLOX and RGB for the whole-body models.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rtmlib.tools.base
from numpy.typing import NDArray
from PIL import Image
from rtmlib.tools import YOLOX, RTMPose

from models.detectors.people import FoundPerson, FoundPoint
from models.detectors.weights import RTMLIB
from models.detectors.wholebody import person_of
from models.errors import DetectorFailed

LEAST_SURE = 0.3
"""A point below this is not seen; rtmlib's own limit."""
_PERSON = 0
_BOX_AND_SURENESS = 5
"""Numbers of a box when the model chooses among boxes itself and knows people only."""

Pixels = NDArray[np.uint8]


class RtmDetector:
    """Both models, loaded. Raises DetectorFailed when a file is none of theirs."""

    name = RTMLIB.name

    def __init__(self, people_model: Path, points_model: Path, *, device: str) -> None:
        place = _place(device)
        try:
            self._people = _loaded(YOLOX, people_model, place)
            self._points = _loaded(RTMPose, points_model, place)
            height, width = _input_size(self._people)
            self._people.model_input_size = (height, width)
            boxes = self._people.session.get_outputs()[0].shape[-1]
            self._knows_kinds = isinstance(boxes, int) and boxes > _BOX_AND_SURENESS
            self._people.det_mode = "multiclass" if self._knows_kinds else "human"
            height, width = _input_size(self._points)
            self._points.model_input_size = (width, height)
        except Exception as e:  # onnxruntime has a class of its own for each way a file can be wrong
            raise DetectorFailed(self.name, f"its models cannot be loaded: {_first_line(e)}") from e

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        """Return the people, the surest first."""
        rgb = np.asarray(photo.convert("RGB"), dtype=np.uint8)
        try:
            boxes = self._boxes(np.ascontiguousarray(rgb[:, :, ::-1]))
            if len(boxes) == 0:
                return []  # the points model would take the whole photo for one person
            places, sureness = self._points(rgb, bboxes=boxes)
        except Exception as e:  # whatever the libraries raise, this photo cannot be read and the next one may
            raise DetectorFailed(self.name, _first_line(e)) from e
        found = [(_sum(c), person_of(_points_of(xy, c))) for xy, c in zip(places, sureness, strict=True)]
        found.sort(key=lambda one: -one[0])
        return [person for _sure, person in found if person is not None]

    def _boxes(self, bgr: Pixels) -> NDArray[Any]:
        if not self._knows_kinds:
            return np.asarray(self._people(bgr))
        boxes, kinds = self._people(bgr)
        people: NDArray[Any] = np.asarray(boxes)[np.asarray(kinds) == _PERSON]
        return people


def _loaded(tool: Any, file: Path, place: str) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there")
    vars(rtmlib.tools.base)["print"] = lambda *_: None  # it greets every model on stdout, where logs are read
    return tool(str(file), backend="onnxruntime", device=place)


def _place(device: str) -> str:
    """Return rtmlib's name for the device; the CPU where this onnxruntime was built without CUDA."""
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return device if device.startswith("cuda") and has_cuda else "cpu"


def _input_size(tool: Any) -> tuple[int, int]:
    """Return (height, width) of the picture a model takes, as the model itself says."""
    height, width = tool.session.get_inputs()[0].shape[-2:]
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError(f"{tool.onnx_model} does not say which size of picture it takes")
    return height, width


def _points_of(places: NDArray[Any], sureness: NDArray[Any]) -> list[FoundPoint | None]:
    return [
        FoundPoint(float(x), float(y), min(float(c), 1.0)) if c >= LEAST_SURE else None
        for (x, y), c in zip(places, sureness, strict=True)
    ]


def _sum(sureness: NDArray[Any]) -> float:
    return float(np.sum(np.clip(sureness, 0.0, 1.0)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

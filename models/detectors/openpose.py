"""controlnet-aux's OpenPose: its networks, loaded safely, and never its drawing.

Its weights are pickles, so they are read with `weights_only=True` and nothing in them can run. Its package imports
every annotator it has, which takes seconds and breaks beside a current mediapipe; only its open_pose part is imported.
Its list of face points is shorter by every point it misses, so the points are read from the heat maps here; a missing
hand point comes as (0, 0). Its heat maps are as large as the photo, so it is given a small one.
"""

import importlib
import importlib.util
import math
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.detectors.people import FACE_POINTS, FoundPerson, FoundPoint, FoundPoints
from models.detectors.weights import OPENPOSE
from models.errors import DetectorFailed

MOST_PIXELS = 512 * 768
"""A photo is looked at in this size; its heat maps then take 200 MB."""
MOST_PEOPLE = 8
"""Of more, only the surest get hands and faces and are told of: a hand takes seconds on a CPU."""
LEAST_FACE_HEAT = 0.05
_PACKAGE = "controlnet_aux"
_IMPORTING = threading.Lock()


class OpenPoseDetector:
    """Body, hands and face networks on one device. Raises DetectorFailed for files that are not theirs."""

    name = OPENPOSE.name

    def __init__(self, body: Path, hand: Path, face: Path, *, device: str) -> None:
        parts = open_pose_modules()
        self._boxes = parts.util
        self._body = _with_weights(parts.body.Body, empty(parts.body.bodypose_model), body, prefixed=False)
        self._hand = _with_weights(parts.hand.Hand, empty(parts.hand.handpose_model), hand, prefixed=False)
        self._face = _with_weights(parts.face.Face, empty(parts.face.FaceNet), face, prefixed=True)
        for network in (self._body, self._hand, self._face):
            network.to(torch.device(device))

    def detect(self, photo: Image.Image) -> Sequence[FoundPerson]:
        """Return the people, the surest first."""
        small = _shrunk(photo.convert("RGB"))
        scale = (photo.width / small.width, photo.height / small.height)
        bgr = np.ascontiguousarray(np.asarray(small, dtype=np.uint8)[:, :, ::-1])
        try:
            with torch.no_grad():
                bodies = self._body.format_body_result(*self._body(bgr))
                bodies.sort(key=lambda body: -float(body.total_score))
                return [self._person(body, bgr, scale) for body in bodies[:MOST_PEOPLE]]
        except Exception as e:  # whatever the libraries raise, this photo cannot be read and the next one may
            raise DetectorFailed(self.name, (str(e).splitlines() or [type(e).__name__])[0]) from e

    def _person(self, body: Any, bgr: NDArray[np.uint8], scale: tuple[float, float]) -> FoundPerson:
        hands = {
            is_left: self._hand_points(bgr, (x, y, side), scale)
            for x, y, side, is_left in self._boxes.handDetect(body, bgr)
        }
        head = self._boxes.faceDetect(body, bgr)
        return FoundPerson(
            body=tuple(None if p is None else _point(p.x, p.y, p.score, scale) for p in body.keypoints),
            hand_left=hands.get(True),
            hand_right=hands.get(False),
            face=None if head is None else self._face_points(bgr, head, scale),
        )

    def _hand_points(
        self, bgr: NDArray[np.uint8], box: tuple[int, int, int], scale: tuple[float, float]
    ) -> FoundPoints | None:
        left, top, side = box
        peaks = self._hand(bgr[top : top + side, left : left + side])
        points = tuple(None if x == 0 and y == 0 else _point(left + x, top + y, 1.0, scale) for x, y in peaks)
        return points if any(points) else None

    def _face_points(
        self, bgr: NDArray[np.uint8], box: tuple[int, int, int], scale: tuple[float, float]
    ) -> FoundPoints | None:
        left, top, side = box
        heat = self._face(bgr[top : top + side, left : left + side])
        points = []
        for map_ in heat[:FACE_POINTS]:  # the last map is what is no face
            y, x = np.unravel_index(int(map_.argmax()), map_.shape)
            c = float(map_[y, x])
            points.append(_point(left + int(x), top + int(y), c, scale) if c > LEAST_FACE_HEAT else None)
        return tuple(points) if any(points) else None


def _point(x: float, y: float, c: float, scale: tuple[float, float]) -> FoundPoint:
    return FoundPoint(float(x) * scale[0], float(y) * scale[1], min(float(c), 1.0))


def _shrunk(photo: Image.Image) -> Image.Image:
    factor = math.sqrt(MOST_PIXELS / (photo.width * photo.height))
    if factor >= 1:
        return photo
    size = (max(1, round(photo.width * factor)), max(1, round(photo.height * factor)))
    return photo.resize(size, Image.Resampling.LANCZOS)


def _with_weights(kind: Any, network: Any, file: Path, *, prefixed: bool) -> Any:
    """Return a library object around a network with the file's weights; its own constructor would trust the pickle.

    prefixed: whether the file names tensors as the network does, or without the network's first part.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        names = network.state_dict()
        network.load_state_dict({name: weights[name if prefixed else name.partition(".")[2]] for name in names})
    except Exception as e:  # torch raises a dozen classes for a file that is no such weights
        raise DetectorFailed(OPENPOSE.name, f"{file.name} is not the weights it should be, or holds code") from e
    made = kind.__new__(kind)
    made.model = network.eval()
    return made


def empty(kind: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return a network whose weights are still to come; drawing random ones first would take seconds."""
    with torch.device("meta"):
        network = kind()
    return network.to_empty(device="cpu")


def open_pose_modules() -> ModuleType:
    """Import controlnet_aux.open_pose without running the package around it. Raises DetectorFailed."""
    with _IMPORTING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses an old name of scipy's
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None:
            raise DetectorFailed(OPENPOSE.name, "controlnet-aux is not installed")
        around = sys.modules.get(_PACKAGE)
        sys.modules[_PACKAGE] = around or importlib.util.module_from_spec(spec)
        try:
            return importlib.import_module(f"{_PACKAGE}.open_pose")
        except Exception as e:  # its imports fail in as many ways as it has neighbours
            raise DetectorFailed(OPENPOSE.name, f"controlnet-aux cannot be imported: {e}") from e
        finally:
            if around is None:
                del sys.modules[_PACKAGE]

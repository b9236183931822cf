"""Detectors' weights made in code, in the real files' layout, so small or so regular that their answer is known.

The ONNX models answer the same whatever they are shown. The OpenPose networks are the real ones, with weights that let
colours through: a dot of a point's own colour is that point.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Box = tuple[float, float, float, float]
PEOPLE_SIDE_PX = 64
POINTS_SIZE = (96, 128)
"""Width and height of the picture that the whole-body model takes."""
PADDING = 1.25
"""So much of a person's surroundings rtmlib shows the whole-body model."""

BOX: Box = (128.0, 64.0, 512.0, 448.0)
"""Where the person stands in a photo of 640x512."""
PLACES = {
    0: (320.0, 100.0),  # nose
    1: (330.0, 90.0),  # left eye
    2: (310.0, 90.0),  # right eye
    5: (380.0, 160.0),  # left shoulder, to the viewer's right
    6: (260.0, 160.0),
    7: (400.0, 220.0),  # left elbow
    8: (240.0, 220.0),
    9: (410.0, 280.0),  # left wrist
    10: (230.0, 280.0),
    11: (350.0, 300.0),  # left hip
    12: (290.0, 300.0),
    15: (355.0, 430.0),  # left ankle
    16: (285.0, 430.0),
    **{91 + point: (412.0 + point, 284.0 + point) for point in range(21)},  # left hand
    **{23 + point: (300.0 + point / 2, 80.0 + point / 4) for point in range(68)},  # face
}
"""Points of COCO-WholeBody that are seen, in pixels of the photo; the right hand and the knees are not."""


def write_rtmlib(
    folder: Path, *, boxes: Sequence[Box] = (BOX,), places: Mapping[int, tuple[float, float]] = PLACES, c: float = 0.9
) -> None:
    """Write both ONNX files: people in these boxes, and points that are at `places` for a person in BOX."""
    folder.mkdir(parents=True, exist_ok=True)
    ratio = PEOPLE_SIDE_PX / 640  # of a photo of 640x512
    people = np.array([[[*(side * ratio for side in box), 0.95] for box in boxes]], dtype=np.float32)
    write_constant_model(folder / "yolox_l.onnx", (PEOPLE_SIDE_PX, PEOPLE_SIDE_PX), {"dets": people})
    width, height = POINTS_SIZE
    centre = ((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2)
    wide, high = (BOX[2] - BOX[0]) * PADDING, (BOX[3] - BOX[1]) * PADDING
    shown = (wide, wide * height / width) if wide > high * width / height else (high * width / height, high)
    across, down = np.zeros((1, 133, 2 * width), np.float32), np.zeros((1, 133, 2 * height), np.float32)
    for index, (x, y) in places.items():
        across[0, index, round((x - centre[0] + shown[0] / 2) / shown[0] * 2 * width)] = c
        down[0, index, round((y - centre[1] + shown[1] / 2) / shown[1] * 2 * height)] = c
    write_constant_model(folder / "dw-ll_ucoco_384.onnx", POINTS_SIZE, {"simcc_x": across, "simcc_y": down})


def write_constant_model(file: Path, size: tuple[int, int], answers: Mapping[str, Any]) -> None:
    """Write an ONNX model that takes a picture of this width and height and always answers the same."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    width, height = size
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(answer, f"{name}_value"))
        for name, answer in answers.items()
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, answer.shape) for name, answer in answers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(file))


# The colours of the 18 body points: bright, and none a darker shade of another, since edges of dots are darker.
COLOURS = [colour for colour in product((0.0, 0.5, 1.0), repeat=3) if max(colour) == 1.0][:18]
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17)),
)
"""OpenPose's own order of limbs, in which it looks for connections."""
_FIELDS = (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26)
"""Where the direction of each limb stands among the 38 maps of directions (x; y is the next one)."""


def coloured_dots(places: Sequence[tuple[float, float]], size: tuple[int, int] = (512, 512)) -> Image.Image:
    """Draw a black photo with a dot of its own colour at each place of the body's 18 points."""
    photo = Image.new("RGB", size)
    pen = ImageDraw.Draw(photo)
    radius = 0.025 * size[1]
    for (x, y), colour in zip(places, COLOURS, strict=True):
        fill = tuple(round(255 * value) for value in colour)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    return photo


def write_openpose(folder: Path, places: Sequence[tuple[float, float]], *, faceless: Sequence[int] = ()) -> None:
    """Write the three files: a body network that sees coloured dots and knows which way the limbs of `places` go,
    a hand network that takes the brightest spot for every point, and a face network that sees all points but
    `faceless` in the corner of what it is shown.
    """
    from models.detectors.openpose import empty, open_pose_modules

    folder.mkdir(parents=True, exist_ok=True)
    parts = open_pose_modules()
    body, hand, face = empty(parts.body.bodypose_model), empty(parts.hand.handpose_model), empty(parts.face.FaceNet)
    for network in (body, hand, face):
        for tensor in network.state_dict().values():
            tensor.zero_()
    _see_colours(body)
    _know_directions(body, places)
    _see_brightness(hand)
    face_answer = face.state_dict()["Mconv7_stage6.bias"]
    face_answer[:70] = 0.5
    face_answer[list(faceless)] = 0.0
    _save(folder / "body_pose_model.pth", body, prefixed=False)
    _save(folder / "hand_pose_model.pth", hand, prefixed=False)
    _save(folder / "facenet.pth", face, prefixed=True)


def _save(file: Path, network: Any, *, prefixed: bool) -> None:
    """Save as the real files are: in torch's old format, and but for the face without a name's first part.

    What is all zero is saved as one number, or the three files would take half a gigabyte.
    """
    import torch

    weights = {
        name if prefixed else name.partition(".")[2]: tensor if tensor.any() else torch.zeros(1).expand(tensor.shape)
        for name, tensor in network.state_dict().items()
    }
    torch.save(weights, file, _use_new_zipfile_serialization=False)


def _see_colours(body: Any) -> None:
    """Let BGR through to the last stage; there the first layers measure how far a colour is from each point's."""
    lifted = 0.5  # a photo comes as -0.5..0.5, and a ReLU lets nothing below 0 through
    for number, layer in enumerate(_convolutions(body.model0)):
        _pass(layer, 3, lift=lifted if number == 0 else 0.0)
    first, *middle, sixth, last = _convolutions(body.model6_2)
    centre = first.kernel_size[0] // 2
    seen = first.in_channels - 128  # the photo's own features come after the answers of the stage before
    for point, colour in enumerate(COLOURS):
        for channel, value in enumerate(reversed(colour)):  # BGR
            for sign, at in ((1.0, 6 * point + 2 * channel), (-1.0, 6 * point + 2 * channel + 1)):
                first.weight.data[at, seen + channel, centre, centre] = sign
                first.bias.data[at] = -sign * value
        sixth.weight.data[point, 6 * point : 6 * point + 6, 0, 0] = -4.0
        sixth.bias.data[point] = 1.0
        last.weight.data[point, point, 0, 0] = 0.5
    for layer in middle:
        _pass(layer, 6 * len(COLOURS))


def _know_directions(body: Any, places: Sequence[tuple[float, float]]) -> None:
    answer = _convolutions(body.model6_1)[-1].bias.data
    for (start, end), field in zip(LIMBS, _FIELDS, strict=True):
        along = np.subtract(places[end], places[start])
        answer[field], answer[field + 1] = (float(part) for part in along / np.linalg.norm(along))


def _see_brightness(hand: Any) -> None:
    layers = _convolutions(hand.model1_0)
    for number, layer in enumerate(layers):
        _pass(layer, 3, lift=0.5 if number == 0 else 0.0)
    first, *middle, last = _convolutions(hand.model6)
    centre = first.kernel_size[0] // 2
    first.weight.data[0, 22 : 22 + 3, centre, centre] = 1 / 3
    for layer in middle:
        _pass(layer, 1)
    last.weight.data[:, 0, 0, 0] = 1.0


def _pass(layer: Any, channels: int, *, lift: float = 0.0) -> None:
    centre = layer.kernel_size[0] // 2
    for channel in range(channels):
        layer.weight.data[channel, channel, centre, centre] = 1.0
        layer.bias.data[channel] = lift


def _convolutions(block: Any) -> list[Any]:
    return [layer for layer in block if hasattr(layer, "kernel_size") and hasattr(layer, "weight")]

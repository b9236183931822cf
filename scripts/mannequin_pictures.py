"""The training pictures: made by code from a seed and a number, kept in shards of a few hundred.

Picture number i of a split is the same on every machine and in every run. A shard is a folder of arrays that appears
with one rename, so a stop leaves no half shard behind.
"""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from mannequin_looks import Look, caption, random_look
from mannequin_recipe import FIGURE_WEIGHT, HAND_WEIGHT, HEAD_WEIGHT
from mannequin_render import Rendered, render
from mannequin_skeletons import random_figure
from numpy.typing import NDArray

from posegen.poses import anatomy, skeleton
from posegen.poses.drawing import draw_pose
from posegen.poses.figure import SolvedFigure, project
from posegen.poses.keypoints import Pose

TRAIN, HELD_BACK, RULER = "train", "held-back", "ruler"
"""The splits: what is learned from, what is scored on, and what the key-point detector alone learns from."""
TOKEN_PX = 16
_HAND_PX = 6
_CLOSE = 1.5  # standing heights in the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture with all that is known about it. map: the control map, (side, side, 3)."""

    family: str
    solved: SolvedFigure
    look: Look
    caption: str
    rendered: Rendered
    map: NDArray[np.uint8]


def make_sample(split: str, seed: int, index: int, side_px: int) -> Sample:
    """Make picture number `index` of a split."""
    rng = Random(f"{split}:{seed}:{index}")
    family, solved = random_figure(rng)
    look = random_look(rng)
    return Sample(
        family=family,
        solved=solved,
        look=look,
        caption=caption(rng, look, family),
        rendered=render(solved, look, side_px),
        map=control_map(_told(Random(f"{split}:{seed}:{index}:map"), solved), side_px),
    )


def _told(rng: Random, solved: SolvedFigure) -> SolvedFigure:
    """Leave face or hands out of what a map tells, as authors of poses do: small faces mostly, large ones seldom.

    Or else a head without the points of a face would always be one that looks away.
    """
    close = solved.figure.placement.stature > _CLOSE
    face, hands = rng.random() < (0.85 if close else 0.25), rng.random() < (0.9 if close else 0.75)
    return replace(
        solved,
        face=solved.face if face else None,
        hand_right=solved.hand_right if hands else None,
        hand_left=solved.hand_left if hands else None,
    )


def control_map(solved: SolvedFigure, side_px: int) -> NDArray[np.uint8]:
    """Draw the control map of one figure as the service draws it."""
    return np.asarray(draw_pose(Pose(people=(project(solved, 1.0),)), side_px, side_px), np.uint8)


def torso_px(solved: SolvedFigure, side_px: int) -> float:
    """Return the length of the torso, not foreshortened, in pixels: the unit of PCK."""
    return solved.figure.placement.stature * side_px * anatomy.SPINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Arrays of many pictures, mapped from disk: n pictures and maps, parts, joints, captions."""

    folder: Path
    pictures: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    joints: NDArray[np.float32]
    seen: NDArray[np.bool_]
    captions: list[str]

    def weights(self) -> NDArray[np.float32]:
        """Return how much an error of every token weighs, (n, tokens): more on the figure, most on its head."""
        n, side = self.parts.shape[0], self.parts.shape[1] // TOKEN_PX
        pixels = 1 + FIGURE_WEIGHT * (self.parts > 0).astype(np.float32)
        for weighed, joints, seen in zip(pixels, self.joints, self.seen, strict=True):
            nose, neck = joints[skeleton.NOSE], joints[skeleton.NECK]
            stress(weighed, nose, max(_HAND_PX, 0.7 * float(np.linalg.norm(nose - neck))), HEAD_WEIGHT)
            for wrist in (skeleton.R_WRIST, skeleton.L_WRIST):
                if seen[wrist]:
                    stress(weighed, joints[wrist], _HAND_PX, HAND_WEIGHT)
        cells: NDArray[np.float32] = pixels.reshape(n, side, TOKEN_PX, side, TOKEN_PX).mean(axis=(2, 4))
        return cells.reshape(n, side * side)


def stress(pixels: NDArray[np.float32], place: NDArray[np.float32], reach_px: float, weight: float) -> None:
    """Add a weight to the square around a place."""
    (left, top), (right, bottom) = (np.maximum(place + way * reach_px, 0).astype(int) for way in (-1, 1))
    pixels[top:bottom, left:right] += weight


def shard_folder(root: Path, split: str, number: int, side_px: int) -> Path:
    """Return where a shard lies."""
    return root / f"{split}-{side_px}" / f"{number:05d}"


def make_shard(root: Path, split: str, seed: int, number: int, *, size: int, side_px: int) -> Path:
    """Make a shard unless it is there; returns its folder."""
    folder = shard_folder(root, split, number, side_px)
    if folder.is_dir():
        return folder
    samples = [make_sample(split, seed, number * size + index, side_px) for index in range(size)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        np.save(draft / "pictures.npy", np.stack([sample.rendered.pixels for sample in samples]))
        np.save(draft / "maps.npy", np.stack([sample.map for sample in samples]))
        np.save(draft / "parts.npy", np.stack([sample.rendered.parts for sample in samples]))
        np.save(draft / "joints.npy", np.stack([sample.rendered.joints for sample in samples]))
        np.save(draft / "seen.npy", np.stack([sample.rendered.seen for sample in samples]))
        (draft / "captions.json").write_text(json.dumps([sample.caption for sample in samples]))
        os.rename(draft, folder)
    except FileExistsError:  # another process made the same shard
        pass
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


@cache
def open_shard(folder: Path) -> Shard:
    """Map a shard's arrays."""
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pictures", "maps", "parts", "joints", "seen")
    }
    return Shard(folder=folder, captions=json.loads((folder / "captions.json").read_text()), **arrays)

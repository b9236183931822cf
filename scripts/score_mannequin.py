"""Score the built-in model: does the picture follow the pose and the words?

    python scripts/score_mannequin.py WEIGHTS [--json] [--cases 200] [--steps 12] [--sheet FILE]

WEIGHTS is the folder that train_mannequin.py exports. Poses and captions are held back from training, the
pose library's among them. Joints are found by a detector that learned from unmarked renders only, and scored where they
are seen: PCK is the share found within a tenth (pck20: a fifth) of the torso's length. Before a model is blamed, look
at pck_true_render, which is the detector's own limit, and pck_vae, the autoencoder's.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from mannequin_autoencoder import decode, encode
from mannequin_cases import Case, score_cases, stacked
from mannequin_detector import pck
from mannequin_profile import open_mannequin
from mannequin_recipe import SIDE_PX
from mannequin_scores import colour_hits, shows_one_body
from PIL import Image

from models.inflight import InflightEngine
from models.mannequin.detector import find_joints, read_network
from models.requests import Failed, Finished, PictureRequest
from posegen.poses import contact_sheet

_SHOWN = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and tell."""
    asked = _parse(arguments)
    torch.set_num_threads(asked.threads)
    began = time.monotonic()
    engine = open_mannequin(asked.weights)
    load_s = time.monotonic() - began
    detector = read_network(asked.weights / "detector")
    cases = score_cases(asked.cases, SIDE_PX)
    scores = scores_of(engine, detector, cases, steps=asked.steps, sheet=asked.sheet)
    scores["load_s"] = round(load_s, 2)
    scores["rss_mb"] = round(psutil.Process().memory_info().rss / 1e6)
    scores["weights_mb"] = round(sum(file.stat().st_size for file in asked.weights.rglob("*.safetensors")) / 1e6, 2)
    if asked.json:
        print(json.dumps(scores, indent=2))
    else:
        for name, value in scores.items():
            print(f"{name:22} {value}")
    return 0


def scores_of(
    engine: InflightEngine, detector: Any, cases: list[Case], *, steps: int, sheet: Path | None = None
) -> dict[str, Any]:
    """Draw every case with its pose, without, and with another's pose, and score all of it."""
    truths = stacked(cases, "truth")
    through = decode(engine.runner.parts.vae, encode(engine.runner.parts.vae, truths))
    followed, seconds = draw_cases(engine, cases, steps=steps)
    free, _ = draw_cases(engine, cases, steps=steps, controlled=False)
    # The words of one and the skeleton of the next: the skeleton has to win.
    swapped, _ = draw_cases(engine, cases, steps=steps, prompts=[case.prompt for case in cases[1:] + cases[:1]])
    found = {
        name: find_joints(detector, pictures)[0]
        for name, pictures in (
            ("true_render", truths),
            ("vae", through),
            ("control", followed),
            ("no_control", free),
            ("swapped", swapped),
        )
    }
    joints, seen = stacked(cases, "joints"), stacked(cases, "seen")
    torsos = np.array([case.torso_px for case in cases], np.float32)
    scores: dict[str, Any] = {"cases": len(cases), "steps": steps}
    for name, places in found.items():
        scores[f"pck_{name}"] = round(pck(places, joints, seen, torsos, within=0.1), 4)
    for name in ("true_render", "control"):
        scores[f"pck20_{name}"] = round(pck(found[name], joints, seen, torsos, within=0.2), 4)
    scores["colour_accuracy"] = colour_hits(cases, followed)
    scores["colour_accuracy_true_render"] = colour_hits(cases, truths)
    scores["coherent_no_control"] = _share(shows_one_body(picture) for picture in free)
    scores["coherent_true_render"] = _share(shows_one_body(picture) for picture in truths)
    scores["seconds_for_4"] = round(seconds, 2)
    if sheet is not None:
        _write_sheet(sheet, cases, followed)
    return scores


def _share(answers: Any) -> float:
    return round(float(np.mean(list(answers))), 4)


def draw_cases(
    engine: InflightEngine,
    cases: list[Case],
    *,
    steps: int,
    controlled: bool = True,
    prompts: Sequence[str] | None = None,
) -> tuple[Any, float]:
    """Draw all cases through the engine; returns (n, side, side, 3) uint8 and the median seconds for four."""
    texts = prompts or [case.prompt for case in cases]
    pictures: dict[str, Any] = {}
    spent = []
    for start in range(0, len(cases), 4):
        began = time.monotonic()
        four = list(zip(cases[start : start + 4], texts[start : start + 4], strict=True))
        for index, (case, prompt) in enumerate(four, start=start):
            engine.submit(_request(engine, index, case, prompt, steps, controlled=controlled))
        while engine.has_work():
            for outcome in engine.step().outcomes:
                if isinstance(outcome, Failed):
                    raise outcome.error
                if isinstance(outcome, Finished):
                    pictures[outcome.key] = (outcome.pixels * 255).round().astype(np.uint8)
        if len(four) == 4:
            spent.append(time.monotonic() - began)
    return np.stack([pictures[str(index)] for index in range(len(cases))]), float(np.median(spent or [0.0]))


def _request(
    engine: InflightEngine, index: int, case: Case, prompt: str, steps: int, *, controlled: bool
) -> PictureRequest:
    profile = engine.profile
    width, height = profile.default_size
    return PictureRequest(
        key=str(index),
        prompt=prompt,
        control=Image.fromarray(case.map) if controlled else None,
        width=width,
        height=height,
        seed=1000 + index,
        steps=steps,
        guidance=profile.default_guidance,
        control_scale=profile.default_control_scale,
        control_end=profile.default_control_end,
    )


def _write_sheet(path: Path, cases: list[Case], pictures: Any) -> None:
    cells = [
        ([Image.fromarray(case.map), Image.fromarray(picture), Image.fromarray(case.truth)], case.name)
        for case, picture in list(zip(cases, pictures, strict=True))[-_SHOWN:]
    ]
    contact_sheet(cells, columns=4, cell_px=SIDE_PX).save(path)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet: map, picture, truth")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

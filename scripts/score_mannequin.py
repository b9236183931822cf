"""Score the built-in model: does the picture follow the pose and the words?

    python scripts/score_mannequin.py [WEIGHTS] [--json] [--cases 200] [--steps 12] [--sheet FILE] [--keep]

WEIGHTS is a folder that train_mannequin.py exports; the package's own unless said. Poses and captions are held back
from training, the pose library's among them. Joints are found by a detector that learned from unmarked renders only,
and scored where they are seen: PCK is the share found within a tenth (pck20: a fifth) of the torso's length. Before a
model is blamed, look at pck_true_render, which is the detector's own limit, and pck_vae, the autoencoder's.

--keep writes the scores beside the weights, with what a small set of cases has to score from now on
(tests/models/test_mannequin_scores.py), and into the model card when they are the package's own.
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
from mannequin_cases import RANDOM, Case, score_cases, stacked
from mannequin_detector import pck
from mannequin_drawing import draw_cases, few_cases, least_of, scored
from mannequin_profile import open_mannequin
from mannequin_recipe import SIDE_PX
from mannequin_scores import colour_hits, shows_one_body
from PIL import Image

from models import mannequin
from models.inflight import InflightEngine
from models.mannequin.detector import find_joints, read_network
from posegen.poses import contact_sheet

_SHOWN = 24
_CARD_FROM = "<!-- scores: written by scripts/score_mannequin.py --keep -->"
_CARD_TO = "<!-- end of scores -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and tell."""
    asked = _parse(arguments)
    torch.set_num_threads(asked.threads)
    began = time.monotonic()
    engine = open_mannequin(asked.weights)
    load_s = time.monotonic() - began
    detector = read_network(asked.weights / mannequin.DETECTOR)
    cases = score_cases(asked.cases, SIDE_PX)
    scores = scores_of(engine, detector, cases, steps=asked.steps, sheet=asked.sheet)
    scores["load_s"] = round(load_s, 2)
    scores["rss_mb"] = round(psutil.Process().memory_info().rss / 1e6)
    scores["weights_mb"] = round(sum(file.stat().st_size for file in asked.weights.rglob("*.safetensors")) / 1e6, 2)
    if asked.keep:
        keep(asked.weights, engine, detector, scores)
    if asked.json:
        print(json.dumps(scores, indent=2))
    else:
        for name, value in scores.items():
            print(f"{name:22} {value}")
    return 0


def keep(weights: Path, engine: InflightEngine, detector: Any, scores: dict[str, Any]) -> None:
    """Write scores beside the weights they are of, with those of the small set that the tests draw."""
    few = few_cases()
    drawn, _ = draw_cases(engine, few, steps=engine.profile.default_steps)
    measured = scored(detector, few, drawn)
    kept = {"scores": scores, "few": measured, "least": least_of(measured)}
    (weights / mannequin.SCORES).write_text(json.dumps(kept, indent=2) + "\n")
    if weights.resolve() == mannequin.WEIGHTS:
        card = mannequin.WEIGHTS.parent / "MODEL_CARD.md"
        card.write_text(with_scores(card.read_text(), scores))


def with_scores(card: str, scores: dict[str, Any]) -> str:
    """Return a model card with these scores in its table."""
    flat = {
        f"{name}, {part}" if part else name: told
        for name, value in scores.items()
        for part, told in (value.items() if isinstance(value, dict) else (("", value),))
    }
    rows = [f"| `{name}` | {value} |" for name, value in flat.items() if name not in ("load_s", "rss_mb")]
    before, rest = card.split(_CARD_FROM)
    _, after = rest.split(_CARD_TO)
    return f"{before}{_CARD_FROM}\n| Score | |\n|---|---|\n" + "\n".join(rows) + f"\n{_CARD_TO}{after}"


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
    of_library = np.array([not case.name.startswith(RANDOM) for case in cases])
    scores["pck_control_of"] = {
        which: round(pck(found["control"][some], joints[some], seen[some], torsos[some], within=0.1), 4)
        for which, some in (("library", of_library), ("random", ~of_library))
        if some.any()
    }
    scores["colour_accuracy"] = colour_hits(cases, followed)
    scores["colour_accuracy_true_render"] = colour_hits(cases, truths)
    scores["coherent_no_control"] = _share(shows_one_body(picture) for picture in free)
    scores["coherent_true_render"] = _share(shows_one_body(picture) for picture in truths)
    scores["seconds_for_4"] = round(seconds, 2)
    if sheet is not None:
        _write_sheet(sheet, cases, followed, swapped)
    return scores


def _share(answers: Any) -> float:
    return round(float(np.mean(list(answers))), 4)


def _write_sheet(path: Path, cases: list[Case], pictures: Any, in_other_words: Any) -> None:
    """Write poses from all over the library: the map, drawn with two captions, and the first one's true render."""
    library = [index for index, case in enumerate(cases) if not case.name.startswith(RANDOM)]
    shown = [library[at] for at in np.linspace(0, len(library) - 1, min(_SHOWN, len(library))).round().astype(int)]
    cells = [
        (
            [Image.fromarray(one) for one in (cases[i].map, pictures[i], in_other_words[i], cases[i].truth)],
            cases[i].name,
        )
        for i in shown
    ]
    contact_sheet(cells, columns=3, cell_px=SIDE_PX).save(path)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("weights", type=Path, nargs="?", default=mannequin.WEIGHTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet: map, two pictures, truth")
    parser.add_argument("--keep", action="store_true", help=f"write {mannequin.SCORES} beside the weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

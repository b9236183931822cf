"""How the mannequin's cases are drawn with the service's own engine, and how well the pictures do what was asked."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from mannequin_cases import Case, score_cases, stacked
from mannequin_detector import pck
from mannequin_recipe import SIDE_PX
from mannequin_scores import colour_hits
from PIL import Image

from models.inflight import InflightEngine
from models.mannequin.detector import find_joints
from models.requests import Failed, Finished, PictureRequest, StepReport

_FEW, _FEW_OF_LIBRARY, _FEW_SEED = 16, 8, 2
_MARGINS = {"pck_control": 0.05, "pck20_control": 0.04, "shirt": 0.13, "trousers": 0.13, "background": 0.13}
"""What another machine's rounding, and nothing worse, may cost: 12 joints of 240, two pictures of 16."""


def few_cases() -> list[Case]:
    """Return the small fixed set that the tests draw; half of it are library poses."""
    return score_cases(_FEW, SIDE_PX, seed=_FEW_SEED, library=_FEW_OF_LIBRARY)


def least_of(scores: dict[str, float]) -> dict[str, float]:
    """Return what the small set has to score from now on, by what it scored."""
    return {name: round(max(0.0, scores[name] - margin), 4) for name, margin in _MARGINS.items()}


def draw_cases(
    engine: InflightEngine,
    cases: list[Case],
    *,
    steps: int,
    controlled: bool = True,
    prompts: Sequence[str] | None = None,
    together: int = 4,
) -> tuple[Any, float]:
    """Draw all cases, `together` at a time; returns (n, side, side, 3) uint8 and the median seconds for so many."""
    texts = prompts or [case.prompt for case in cases]
    pictures: dict[str, Any] = {}
    spent = []
    for start in range(0, len(cases), together):
        began = time.monotonic()
        some = list(zip(cases[start : start + together], texts[start : start + together], strict=True))
        for index, (case, prompt) in enumerate(some, start=start):
            engine.submit(_request(engine, index, case, prompt, steps, controlled=controlled))
        while engine.has_work():
            _step(engine, pictures)
        if len(some) == together:
            spent.append(time.monotonic() - began)
    return _in_order(pictures), float(np.median(spent or [0.0]))


def draw_late(engine: InflightEngine, cases: list[Case], *, steps: int) -> Any:
    """Draw all cases so that rows share forwards at different steps: each joins a few steps after the one before."""
    pictures: dict[str, Any] = {}
    apart = max(1, steps // engine.max_batch)
    for index, case in enumerate(cases):
        engine.submit(_request(engine, index, case, case.prompt, steps, controlled=True))
        forwards = 0
        while engine.has_work() and forwards < apart:
            forwards += bool(_step(engine, pictures).rows)
    while engine.has_work():
        _step(engine, pictures)
    return _in_order(pictures)


def _step(engine: InflightEngine, pictures: dict[str, Any]) -> StepReport:
    report = engine.step()
    for outcome in report.outcomes:
        if isinstance(outcome, Failed):
            raise outcome.error
        if isinstance(outcome, Finished):
            pictures[outcome.key] = (outcome.pixels * 255).round().astype(np.uint8)
    return report


def _in_order(pictures: dict[str, Any]) -> Any:
    return np.stack([pictures[str(index)] for index in range(len(pictures))])


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


def scored(detector: Any, cases: list[Case], pictures: Any) -> dict[str, float]:
    """Score pictures that were to follow their cases: pose within a tenth and a fifth of the torso, and colours."""
    found = find_joints(detector, pictures)[0]
    joints, seen = stacked(cases, "joints"), stacked(cases, "seen")
    torsos = np.array([case.torso_px for case in cases], np.float32)
    return {
        "pck_control": round(pck(found, joints, seen, torsos, within=0.1), 4),
        "pck20_control": round(pck(found, joints, seen, torsos, within=0.2), 4),
        **colour_hits(cases, pictures),
    }

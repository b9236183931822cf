"""The weights that are shipped draw what they drew when they were scored: poses and colours of a small fixed set.

The least that they have to score lies beside them, written by `scripts/score_mannequin.py --keep`; a change of the
engine that costs more than another machine's rounding does is seen here.
"""

import json

import pytest
import torch
from mannequin_drawing import draw_cases, few_cases, scored

from models import mannequin
from models.loading import load_engine
from models.mannequin.detector import read_network

pytestmark = pytest.mark.skipif(
    not (mannequin.WEIGHTS / mannequin.SCORES).is_file(),
    reason="no scored weights are in this package: train them, then scripts/score_mannequin.py --keep",
)


def test_the_shipped_weights_keep_their_scores(tmp_path_factory: pytest.TempPathFactory) -> None:
    torch.set_num_threads(1)
    least = json.loads((mannequin.WEIGHTS / mannequin.SCORES).read_text())["least"]
    engine = load_engine("mannequin", "cpu", cache_dir=tmp_path_factory.mktemp("models"))
    cases = few_cases()

    pictures, _ = draw_cases(engine, cases, steps=engine.profile.default_steps)
    engine.close()

    found = scored(read_network(mannequin.WEIGHTS / mannequin.DETECTOR), cases, pictures)
    assert {name: value for name, value in found.items() if value < least[name]} == {}, least

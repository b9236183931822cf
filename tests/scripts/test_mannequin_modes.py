"""The modes that are scored change pictures as they say, and what is not to change them does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mannequin_drawing
import numpy as np
import pytest
import score_mannequin
import torch
from mannequin_cases import Case, score_cases
from mannequin_drawing import draw_cases, draw_late, least_of
from mannequin_modes import COLUMNS, in_bf16, multiplying, rounded_to_fp8, rounded_to_int8, table_of
from mannequin_profile import open_mannequin
from mannequin_recipe import SIDE_PX
from support.untrained import write_untrained

from models import mannequin
from models.mannequin.detector import read_network

STEPS = 2


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks on shared cores: a second thread would mostly wait for the first."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of untrained networks: what they draw is noise, and all the same for the same weights."""
    return write_untrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return score_cases(4, SIDE_PX, library=2)


@pytest.fixture(scope="module")
def usual(weights: Path, cases: list[Case]) -> Any:
    return draw_cases(open_mannequin(weights), cases, steps=STEPS)[0]


def test_rows_that_join_late_are_drawn_as_rows_that_start_together(
    weights: Path, cases: list[Case], usual: Any
) -> None:
    engine = open_mannequin(weights, max_batch=2)
    shared: list[set[int]] = []
    step = engine.step

    def watched() -> Any:
        report = step()
        shared.append({index for _, index, _ in report.rows})
        return report

    engine.step = watched  # type: ignore[method-assign]
    late = draw_late(engine, cases, steps=STEPS)

    assert {0, 1} in shared  # a forward with rows at different steps
    assert np.abs(late.astype(int) - usual).max() <= 1


def test_bf16_and_eight_bits_move_pictures_a_little(weights: Path, cases: list[Case], usual: Any) -> None:
    pictures = [draw_cases(in_bf16(open_mannequin(weights)), cases, steps=STEPS)[0]]
    for rounding in (rounded_to_int8, rounded_to_fp8):
        engine = open_mannequin(weights)
        with multiplying(engine, rounding):
            pictures.append(draw_cases(engine, cases, steps=STEPS)[0])
    for moved in (np.abs(picture.astype(int) - usual).mean() for picture in pictures):
        assert 0 < moved < 12


def test_numbers_are_rounded_to_eight_bits_with_a_scale_a_row() -> None:
    numbers = torch.randn(3, 1000, generator=torch.Generator().manual_seed(1)) * torch.tensor([[1e-3], [1.0], [1e3]])
    for rounding, most in ((rounded_to_int8, 1 / 127), (rounded_to_fp8, 1 / 16)):
        rounded = rounding(numbers)
        assert torch.equal(rounding(torch.zeros(2, 4)), torch.zeros(2, 4))
        assert all(len(row.unique()) <= 256 for row in rounded)
        error = (rounded - numbers).abs() / numbers.abs().amax(dim=1, keepdim=True)
        assert 0 < error.max() <= most


def test_the_table_has_a_row_a_mode() -> None:
    told = table_of({"usual": dict.fromkeys(COLUMNS, 0.5), "fast": dict.fromkeys(COLUMNS, 0.25)})
    assert told.splitlines()[2:] == [
        "| usual | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |",
        "| fast | 0.250 | 0.250 | 0.250 | 0.250 | 0.250 |",
    ]


def test_scores_are_kept_beside_the_weights_with_the_least_that_has_to_be_scored(
    weights: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_mannequin, "few_cases", lambda: cases[:2])

    score_mannequin.keep(weights, open_mannequin(weights), read_network(weights / mannequin.DETECTOR), {"cases": 4})

    kept = json.loads((weights / mannequin.SCORES).read_text())
    assert kept["scores"] == {"cases": 4}
    assert kept["least"] == least_of(kept["few"])
    assert set(kept["least"]) == set(COLUMNS)
    assert all(0 <= kept["least"][name] <= kept["few"][name] for name in COLUMNS)


def test_the_model_card_gets_the_scores_in_its_table() -> None:
    card = (mannequin.WEIGHTS.parent / "MODEL_CARD.md").read_text()

    filled = score_mannequin.with_scores(card, {"pck_control": 0.9, "colour_accuracy": {"shirt": 1.0}, "rss_mb": 700})
    again = score_mannequin.with_scores(filled, {"pck_control": 0.8})

    assert "| `pck_control` | 0.9 |\n| `colour_accuracy, shirt` | 1.0 |\n<!--" in filled
    assert "0.9" not in again.split("<!--")[1]
    assert (filled.split("<!--")[0], filled.split("-->")[2]) == (card.split("<!--")[0], card.split("-->")[2])


def test_the_small_set_is_the_same_every_time_and_half_of_it_is_the_library() -> None:
    few = mannequin_drawing.few_cases()
    assert len(few) == 16
    assert [case.name.startswith("random-") for case in few] == [True] * 8 + [False] * 8

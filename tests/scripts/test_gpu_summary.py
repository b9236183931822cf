"""From a run's notes to cells and bars: medians, spreads, what a picture takes, and what is met, missed or unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
from gpu_bars import Bar, Outcome, judge
from gpu_cells import STEPS, Way
from gpu_notes import read_notes
from gpu_report import as_json, markdown, text
from gpu_summary import Summary, picture_s, summarise

LARGE, MIDDLE = "1024x1024", "768x1024"
Note = dict[str, Any]


def run(**changes: Any) -> Note:
    work = {LARGE: {"transformer": 74.4e12, "controlnet": 8.3e12}, MIDDLE: {"transformer": 55.3e12, "controlnet": 6e12}}
    return {
        "event": "run",
        "at": "2026-11-29T12:00:00+00:00",
        "command": "python scripts/bench_gpu.py",
        "profile": "flux1-dev",
        "real_weights": False,
        "device": "cuda:0",
        "device_name": "NVIDIA H200",
        "cuda": "13.0",
        "packages": {"torch": "2.15.0", "torchao": None},
        "compiled": True,
        "work": work,
    } | changes


def visit(way: Way, seconds: float, *, size: str = LARGE, pictures: int = 4, held: int | None = 5) -> Note:
    """A visit whose pictures take so many seconds each; steps without control take half of those with it."""
    drawn = 1 if way is Way.STOCK_SINGLE else pictures
    without = seconds * drawn / (18 * 2 + 10)
    with_control, without_s = [2 * without] * 3, [without] * 2
    if way in (Way.STOCK_SINGLE, Way.STOCK_BATCHED, Way.STOCK_COMPILED):
        with_control, without_s = [seconds * drawn / STEPS] * 5, []
    return {
        "event": "visit",
        "way": way.value,
        "size": size,
        "pictures": pictures,
        "pictures_drawn": drawn,
        "repeat": 0,
        "with_control_s": with_control,
        "without_s": without_s,
        "whole": False,
        "held_bytes": held,
        "weight_bytes": 10,
    }


def bars(*notes: Note, **changes: Any) -> dict[str, Bar]:
    return {bar.title: bar for bar in judge(summarise([run(**changes), *notes]))}


def test_a_cell_is_the_median_of_its_visits_with_the_least_and_the_most() -> None:
    notes = [run(), *(visit(Way.OURS_COMPILED, seconds, held=held) for seconds, held in ((4.0, 5), (3.0, 7), (9.0, 6)))]
    (cell,) = summarise([*notes, {"event": "matmul", "flops": 700e12}, {"event": "matmul", "flops": 900e12}]).cells
    assert (cell.picture_s, cell.least_s, cell.most_s) == pytest.approx((4.0, 3.0, 9.0))
    assert (cell.visits, cell.timed_steps, cell.memory_bytes) == (3, 15, 17)
    assert cell.flops == pytest.approx(2232.6e12 / 4)
    assert cell.share == pytest.approx(2232.6 / 4 / 800)
    assert cell.steps_per_s == pytest.approx(7)


def test_the_steps_of_a_whole_schedule_are_added_up_and_samples_of_it_are_weighted() -> None:
    cached = visit(Way.OURS_FAST, 1.0) | {"with_control_s": [1.0] * 10, "without_s": [0.5] * 6, "whole": True}
    assert picture_s(cached, Way.OURS_FAST) == pytest.approx((10 + 3) / 4)
    assert picture_s(cached | {"whole": False}, Way.OURS) == pytest.approx((18 + 5) / 4)
    assert picture_s(visit(Way.STOCK_SINGLE, 5.58), Way.STOCK_SINGLE) == pytest.approx(5.58)


def test_seconds_are_held_to_the_quickest_lossless_cell_of_four_to_eight_pictures() -> None:
    found = bars(
        visit(Way.OURS, 9.0),
        visit(Way.OURS_COMPILED, 3.8),
        visit(Way.OURS_COMPILED, 2.0, pictures=1),
        visit(Way.OURS_FP8, 2.9),
        visit(Way.OURS_FP8_FAST, 1.0, size=MIDDLE),
    )
    lossless = found["bf16, lossless, 1024x1024"]
    assert (lossless.outcome, lossless.found, lossless.where) == (
        Outcome.MET,
        pytest.approx(3.8),
        "ours_compiled, 4 pictures of 1024x1024",
    )
    assert found["fp8, 1024x1024"].outcome is Outcome.MISSED
    assert found["fp8 + cache, 1024x1024"].outcome is Outcome.NOT_MEASURED
    assert found["fp8 + cache, 768x1024"].outcome is Outcome.MET
    assert found["bf16, lossless, 768x1024"].wanted == "<= 2.90 s a picture"


def test_seconds_of_another_card_or_model_say_nothing_of_the_bars() -> None:
    for changes in ({"device_name": "NVIDIA L4"}, {"profile": "tiny"}):
        assert bars(visit(Way.OURS, 1.0), **changes)["bf16, lossless, 1024x1024"].outcome is Outcome.NOT_MEASURED


def test_ratios_are_made_inside_one_group_and_against_the_quickest_of_theirs() -> None:
    found = bars(
        visit(Way.OURS_COMPILED, 4.0),
        visit(Way.STOCK_SINGLE, 5.9),
        visit(Way.STOCK_BATCHED, 6.1),
        visit(Way.STOCK_COMPILED, 4.5),
        visit(Way.STOCK_COMPILED, 1.0, pictures=8),
        device_name="NVIDIA L4",
    )
    eager, compiled = found["lossless against diffusers eager"], found["lossless against diffusers compiled"]
    assert (eager.found, eager.outcome) == (pytest.approx(1.475), Outcome.MISSED)
    assert (compiled.found, compiled.outcome) == (pytest.approx(1.125), Outcome.MET)


def test_the_worker_and_the_newcomer_are_held_to_their_bars() -> None:
    worker = {"event": "end_to_end", "share": 0.94, "pictures": 32, "size": LARGE, "steps": 28, "png_bytes": 2048}
    worker |= {"pictures_per_s": 0.25, "texts": "at random"}
    joined = {"event": "joining", "rows": 4, "forwards": 1, "wait_steps": 0.4}
    found = bars(worker, joined)
    assert found["end to end against denoise only"].outcome is Outcome.MISSED
    assert found["a newcomer joins"].outcome is Outcome.MET
    assert bars({**joined, "forwards": 2})["a newcomer joins"].outcome is Outcome.MISSED
    assert {bar.outcome for bar in bars(worker, joined, device="cpu").values()} == {Outcome.NOT_MEASURED}


def test_a_run_without_a_single_cell_can_be_told() -> None:
    summary: Summary = summarise([run(), {"event": "left_out", "what": "all", "why": "no time"}])
    assert {bar.outcome for bar in judge(summary)} == {Outcome.NOT_MEASURED}
    assert "left out: all: no time" in text(summary)


def test_notes_that_end_in_the_middle_of_a_line_are_read_up_to_it(tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text(json.dumps(run()) + "\n" + json.dumps(visit(Way.OURS, 4.0)) + '\n{"event": "vis')
    assert [note["event"] for note in read_notes(file)] == ["run", "visit"]


def test_the_table_for_the_documents_has_command_versions_card_and_all_cells() -> None:
    summary = summarise([run(), visit(Way.OURS_COMPILED, 3.0), visit(Way.OURS_COMPILED, 2.0, size=MIDDLE)])
    table = markdown(summary)
    assert "    python scripts/bench_gpu.py\n" in table
    assert "torch 2.15.0, CUDA 13.0" in table
    assert "random weights" in table
    assert "| 1024x1024 | 4 | ours, bf16, compiled | 3.000 | 3.000 to 3.000 | 9.33 | 744 |  | 0.0 GiB |" in table
    assert table.index("| 1024x1024 |") < table.index("| 768x1024 |")
    assert json.loads(json.dumps(as_json(summary)))["cells"][0]["picture_s"] == pytest.approx(3.0)

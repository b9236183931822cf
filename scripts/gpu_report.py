"""A run of `bench_gpu.py` told: as JSON, as text for a terminal, and as a table for docs/benchmarks.md."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from gpu_bars import Bar, judge
from gpu_cells import CONTROL_STEPS, STEPS, Way, title
from gpu_notes import name_of
from gpu_summary import Cell, Summary

_CELLS = ("size", "pictures", "way", "s a picture", "spread", "steps/s", "TFLOP/s", "of matmul", "memory")
_BARS = ("bar", "wanted", "found", "outcome", "where")


def as_json(summary: Summary) -> dict[str, Any]:
    """Everything, as one object."""
    return {
        **summary.run,
        "steps": STEPS,
        "control_steps": CONTROL_STEPS,
        "matmul_tflops": summary.matmul_flops and summary.matmul_flops / 1e12,
        "cells": [
            {
                **asdict(cell),
                "way": cell.way.value,
                "size": name_of(cell.size),
                "steps_per_s": cell.steps_per_s,
                "tflops": cell.flops / 1e12,
            }
            for cell in summary.cells
        ],
        "attention": summary.attention,
        "joining": summary.joining,
        "end_to_end": summary.end_to_end,
        "bars": [{**asdict(bar), "outcome": bar.outcome.value} for bar in judge(summary)],
        "left_out": list(summary.left_out),
    }


def text(summary: Summary) -> str:
    """For a terminal."""
    lines = [_heading(summary), ""]
    lines += _aligned(_CELLS, [_cell_row(cell, summary) for cell in _ordered(summary)])
    lines += ["", *_sentences(summary), ""]
    lines += _aligned(_BARS, [_bar_row(bar) for bar in judge(summary)])
    lines += [f"left out: {one['what']}: {one['why']}" for one in summary.left_out]
    return "\n".join(lines)


def markdown(summary: Summary) -> str:
    """For the documents."""
    lines = [f"### {summary.run['device_name']}, {summary.run['profile']}, {summary.run['at'][:10]}", ""]
    lines += [_heading(summary), "", f"    {summary.run['command']}", ""]
    lines += _table(_CELLS, [_cell_row(cell, summary) for cell in _ordered(summary)])
    lines += ["", *_sentences(summary), ""]
    lines += _table(_BARS, [_bar_row(bar) for bar in judge(summary)])
    if summary.left_out:
        lines += ["", "Left out:", "", *(f"- {one['what']}: {one['why']}" for one in summary.left_out)]
    return "\n".join(lines) + "\n"


def _heading(summary: Summary) -> str:
    run = summary.run
    weights = "real weights" if run["real_weights"] else "random weights, N(0, 0.02)"
    versions = ", ".join(f"{name} {known}" for name, known in run["packages"].items() if known)
    cuda = f", CUDA {run['cuda']}" if run["cuda"] else ""
    return (
        f"{run['profile']} on {run['device_name']} ({run['device']}), {weights}; {versions}{cuda}. A picture has "
        f"{STEPS} steps with control in {CONTROL_STEPS}; denoise only, encoded prompts and poses."
    )


def _sentences(summary: Summary) -> Iterator[str]:
    if summary.matmul_flops:
        yield f"Matrix products in the same run: {summary.matmul_flops / 1e12:.3g} TFLOP/s."
    if (found := summary.attention) is not None:
        yield f"Attention in {title(Way(found['way']), compiled=summary.run['compiled'])}: {found['kind']}."
    if (found := summary.joining) is not None:
        yield (
            f"A newcomer to {found['rows']} rows waited for {found['forwards']} forwards of others, "
            f"{found['wait_steps']:.2f} steps by the clock."
        )
    if (found := summary.end_to_end) is not None:
        yield (
            f"Through the worker, {found['pictures']} pictures of {found['size']} and {found['steps']} steps from "
            f"queue to PNG ({found['png_bytes'] // 1024} KiB each; text encoders {found['texts']}): "
            f"{found['pictures_per_s']:.3f} pictures/s, {found['share']:.3f} of denoise only."
        )


def _ordered(summary: Summary) -> list[Cell]:
    ways = list(Way)
    return sorted(summary.cells, key=lambda cell: (-cell.size[0] * cell.size[1], cell.pictures, ways.index(cell.way)))


def _cell_row(cell: Cell, summary: Summary) -> list[str]:
    return [
        name_of(cell.size),
        str(cell.pictures),
        title(cell.way, compiled=summary.run["compiled"]),
        f"{cell.picture_s:.3f}",
        f"{cell.least_s:.3f} to {cell.most_s:.3f}",
        f"{cell.steps_per_s:.2f}",
        f"{cell.flops / 1e12:.3g}",
        "" if cell.share is None else f"{cell.share:.0%}",
        "" if cell.memory_bytes is None else f"{cell.memory_bytes / 2**30:.1f} GiB",
    ]


def _bar_row(bar: Bar) -> list[str]:
    found = "" if bar.found is None else f"{bar.found:.3g}"
    return [bar.title, bar.wanted, found, bar.outcome.value, bar.where]


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]

"""Measures the engine on a card against diffusers' own pipeline: FLUX's true architecture, one process, in turns.

    python scripts/bench_gpu.py [--json] [--plan short|full] [--budget-s N] [--markdown FILE]

Without weights the networks are random (N(0, 0.02)) and made on the card in seconds; with them they are the real ones.
Ways, sizes and numbers of pictures stand in `gpu_cells.py`. Each cell times at least ten steps, in up to three visits
that take turns with those of the other ways; then one cell goes through the real worker, and a newcomer joins a full
batch. `short` takes 9 minutes at most, `full` 29; when time runs out, what was measured is told and what was left out
is named. Every finding is written to a file of JSON lines at once (`--notes`); `--read FILE` tells a run from it.

    --device cpu --profile tiny   the same code with the built-in model, which is how it is tested without a card
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from gpu_cells import (
    CACHES,
    CONTROL_STEPS,
    LOSSLESS,
    STEPS,
    Group,
    Speed,
    Way,
    affordable,
    cost_s,
    groups,
    in_turns,
    title,
)
from gpu_cells import group as make_group
from gpu_end_to_end import ORDER_PICTURES, end_to_end
from gpu_networks import configs_of, open_networks, with_texts
from gpu_notes import NoteFile, name_of, read_notes, size_of
from gpu_report import as_json, markdown, text
from gpu_summary import Notes, picture_s, summarise
from gpu_timing import CellFailed, Visit, matmul_flops, visit_joining
from gpu_ways import Ways
from gpu_work import Size, step_work

from models.batch_choice import BUCKETS
from models.devices import device_title, resolve_device
from models.errors import ModelsError
from models.inflight import InflightEngine
from models.profiles import Profile, profile
from posegen.errors import PosegenError

BUDGETS_S = {"short": 540.0, "full": 1740.0}
SIZES: dict[str, tuple[Size, ...]] = {"tiny": ((256, 256), (192, 256), (128, 128))}
FLUX_SIZES: tuple[Size, ...] = ((1024, 1024), (768, 1024), (512, 512))
FIRST_COMPILE_S = 40.0
HOPED_SHARE = 0.4
"""Of the matrix products' rate: what a step is taken to reach before one was measured."""
MATMUL_SIDES = {"cuda": 8192, "cpu": 512}
PACKAGES = ("torch", "diffusers", "transformers", "torchao", "triton")


class Bench:
    """One run: measures what the budget allows and notes everything as it is found."""

    def __init__(self, asked: argparse.Namespace, notes: NoteFile, begun_s: float) -> None:
        self._asked, self._notes = asked, notes
        self._until_s = begun_s + (BUDGETS_S[asked.plan] if asked.budget_s is None else asked.budget_s)
        self._profile: Profile = profile(asked.profile)
        self._device = resolve_device(asked.device)
        if self._device.type == "cpu":
            torch.set_num_threads(1)
        self._sizes = SIZES.get(asked.profile, FLUX_SIZES)
        configs = configs_of(self._profile, asked.models_dir)
        self._work = {
            size: step_work(configs.transformer, configs.controlnet, size, self._profile.text_tokens)
            for size in (*self._sizes, *(size for size, _ in asked.groups or ()))
        }
        self._runner, self._is_real = open_networks(
            self._profile, self._device, asked.models_dir, weights=asked.weights
        )
        compiles = self._device.type == "cuda" if asked.compile is None else asked.compile
        self._ways = Ways(self._runner, compiles=compiles, models_dir=asked.models_dir)
        self._speed = Speed(flops=1.0, compile_s=FIRST_COMPILE_S)
        self._warm: set[tuple[Way, Size, int]] = set()
        self._missing: set[Way] = set()

    def run(self) -> None:
        """Measure group after group; after the first also the newcomer and the worker."""
        self._notes.add("run", **self._facts())
        rate = self._matmul()
        self._speed = Speed(flops=HOPED_SHARE * rate, compile_s=FIRST_COMPILE_S)
        ways = self._asked.ways or self._ways.known()
        wanted = groups(self._asked.plan, self._sizes, ways)
        if self._asked.groups:
            wanted = [make_group(size, pictures, ways) for size, pictures in self._asked.groups]
        wanted = [replace(one, repeats=self._asked.repeats) for one in wanted]
        for at, (group, fits) in enumerate(affordable(wanted, self._left_s, self._cost_s)):
            if not fits:
                self._leave_out(group.name, f"no time: it takes about {self._cost_s(group):.0f} s")
                continue
            self._measure(group)
            if at == 0:
                self._beside(group)
        self._matmul()
        self._notes.add("end", left_s=round(self._left_s(), 1))

    def _left_s(self) -> float:
        return self._until_s - time.monotonic()

    def _cost_s(self, group: Group) -> float:
        def work(size: Size) -> float:
            return self._work[size].of(steps=1, control_steps=1)

        return cost_s(group, self._speed, work, compiled=self._ways.compiles)

    def _measure(self, group: Group) -> None:
        """Let all ways of a group take turns; one that cannot be measured is left out of it."""
        able = [way for way in group.ways if way not in self._missing and self._warms(way, group)]
        for repeat, way in in_turns(able, group.repeats):
            if self._left_s() <= 0:
                self._leave_out(f"{group.name}, from repeat {repeat + 1}", "no time")
                return
            self._visit(way, group, repeat)

    def _warms(self, way: Way, group: Group) -> bool:
        """Draw once without anybody looking; False for what cannot be measured here, which is noted."""
        base = {Way.OURS_SAFE: Way.OURS_COMPILED, Way.OURS_FAST: Way.OURS_COMPILED, Way.OURS_FP8_FAST: Way.OURS_FP8}
        warmed = base.get(way, way), group.size, group.pictures
        if warmed in self._warm:
            return True
        begun_s = time.monotonic()
        try:
            self._ways.warm(way, group.size, group.pictures)
        except (CellFailed, ModelsError, RuntimeError) as error:  # whatever a library cannot do here
            self._leave_out(f"{self._title(way)}, {group.name}", _first_line(error))
            if isinstance(error, ModelsError):  # a library that is missing will be missing later
                self._missing.add(way)
            return False
        self._warm.add(warmed)
        took_s = time.monotonic() - begun_s
        if self._ways.compiles and way not in (Way.STOCK_SINGLE, Way.STOCK_BATCHED, Way.OURS):
            self._speed = Speed(flops=self._speed.flops, compile_s=max(5.0, took_s))
        return True

    def _visit(self, way: Way, group: Group, repeat: int) -> None:
        try:
            visit = self._ways.visit(way, group.size, group.pictures, group.repeats)
        except (CellFailed, ModelsError, RuntimeError) as error:
            self._leave_out(f"{self._title(way)}, {group.name}", _first_line(error))
            return
        found = {
            "way": way.value,
            "size": name_of(group.size),
            "pictures": group.pictures,
            "repeat": repeat,
            **_told(visit),
            "weight_bytes": self._ways.weight_bytes(way),
        }
        self._notes.add("visit", **found)
        seconds = picture_s(found, way)
        work = self._work[group.size].of(steps=STEPS, control_steps=CONTROL_STEPS)
        if way not in CACHES and repeat == 0:
            self._speed = Speed(flops=work / seconds, compile_s=self._speed.compile_s)
        self._notes.say(f"{group.name}, {self._title(way)}: {seconds:.3f} s a picture")

    def _beside(self, group: Group) -> None:
        """Measure the newcomer and the worker, with our quickest lossless way of a group."""
        cells = [cell for cell in summarise(self._notes.all).cells if cell.way in LOSSLESS]
        if not cells:
            self._leave_out("a newcomer, and end to end", "none of our lossless ways was measured")
            return
        best = min(cells, key=lambda cell: cell.picture_s)
        try:
            for rows in (rows for rows in BUCKETS if rows < group.pictures):  # of which forwards of others are made up
                self._ways.warm(best.way, group.size, rows)
            self._notes.add("attention", way=best.way.value, kind=self._ways.runner(best.way).attention.kind.value)
            pictures = ORDER_PICTURES * self._asked.end_to_end_orders
            if pictures and 1.3 * pictures * best.picture_s + 10 > self._left_s():
                self._leave_out("end to end", f"no time: it takes about {1.3 * pictures * best.picture_s:.0f} s")
            elif pictures:
                self._end_to_end(best.way, group)
            joining = visit_joining(self._ways.engine(best.way, group.pictures), group.size, group.pictures)
            self._notes.add("joining", rows=group.pictures, way=best.way.value, **asdict(joining))
        except (CellFailed, ModelsError, PosegenError, RuntimeError) as error:
            self._leave_out("a newcomer, or end to end", _first_line(error))

    def _end_to_end(self, way: Way, group: Group) -> None:
        """Draw a full queue through the worker, between two visits that only denoise."""
        rows, steps = group.pictures, self._asked.end_to_end_steps
        ended = self._profile.default_control_end
        control_steps = sum((step + 1) / steps <= ended for step in range(steps))
        before = self._ways.visit(way, group.size, rows, repeats=1)
        runner = with_texts(self._ways.runner(way), self._asked.models_dir)
        engine = InflightEngine(runner, rows)
        found = end_to_end(engine, group.size, self._asked.end_to_end_orders, steps=steps)
        after = self._ways.visit(way, group.size, rows, repeats=1)
        seconds = [
            (control_steps * _mean(visit.with_control_s) + (steps - control_steps) * _mean(visit.without_s)) / rows
            for visit in (before, after)
        ]
        denoise_s = _mean(seconds)
        self._notes.add(
            "end_to_end",
            way=way.value,
            size=name_of(group.size),
            rows=rows,
            denoise_picture_s=denoise_s,
            share=found.pictures_per_s * denoise_s,
            texts="real" if self._is_real else "of the right size, at random",
            **asdict(found),
        )
        self._notes.say(f"end to end: {found.pictures_per_s * denoise_s:.3f} of denoise only")

    def _matmul(self) -> float:
        rate = matmul_flops(self._device, side=MATMUL_SIDES[self._device.type])
        self._notes.add("matmul", flops=rate)
        return rate

    def _leave_out(self, what: str, why: str) -> None:
        self._notes.add("left_out", what=what, why=why)
        self._notes.say(f"left out: {what}: {why}")

    def _title(self, way: Way) -> str:
        return title(way, compiled=self._ways.compiles)

    def _facts(self) -> dict[str, Any]:
        device, on_card = self._device, self._device.type == "cuda"
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "scripts/bench_gpu.py", *sys.argv[1:]]),
            "profile": self._profile.name,
            "real_weights": self._is_real,
            "device": str(device),
            "device_name": device_title(device) if on_card else platform.processor() or platform.machine(),
            "memory_bytes": torch.cuda.get_device_properties(device).total_memory if on_card else None,
            "cuda": torch.version.cuda if on_card else None,
            "packages": {name: _version(name) for name in PACKAGES},
            "compiled": self._ways.compiles,
            "plan": self._asked.plan,
            "budget_s": round(self._left_s()),
            "work": {name_of(size): asdict(work) for size, work in self._work.items()},
        }


def main() -> int:
    """Measure, tell, and return the exit code: 1 when a bar was missed."""
    begun_s = time.monotonic()
    asked = _parse()
    notes: Notes
    if asked.read is not None:
        notes = read_notes(asked.read)
    else:
        with ExitStack() as stack:
            asked.notes.parent.mkdir(parents=True, exist_ok=True)
            kept = NoteFile(stack.enter_context(asked.notes.open("w")))
            Bench(asked, kept, begun_s).run()
            notes = kept.all
    summary = summarise(notes)
    if asked.markdown is not None:
        asked.markdown.write_text(markdown(summary))
    told = as_json(summary)
    print(json.dumps(told, indent=2) if asked.json else text(summary))
    return int(any(bar["outcome"] == "missed" for bar in told["bars"]))


def _told(visit: Visit) -> dict[str, Any]:
    told = asdict(visit)
    told["pictures_drawn"] = told.pop("pictures")
    return told


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _group(given: str) -> tuple[Size, int]:
    size, pictures = given.split(":")
    return size_of(size), int(pictures)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--plan", choices=tuple(BUDGETS_S), default="full")
    parser.add_argument("--budget-s", type=float, help="seconds, loading included (default: the plan's)")
    parser.add_argument("--profile", default="flux1-dev")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--weights", choices=("auto", "real", "random"), default="auto")
    parser.add_argument("--ways", type=lambda names: [Way(name) for name in names.split(",")], help="only these")
    parser.add_argument(
        "--groups",
        type=lambda given: [_group(one) for one in given.split(",")],
        help="only these sizes and pictures, such as 1024x1024:4,768x1024:8",
    )
    parser.add_argument("--repeats", type=int, choices=(1, 2, 3), default=3, help="visits to each cell, at most")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="compile what a worker would (default: on a card)"
    )
    parser.add_argument("--end-to-end-orders", type=int, default=2, help="of 16 pictures; 0: not measured")
    parser.add_argument("--end-to-end-steps", type=int, default=STEPS)
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"))
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    parser.add_argument("--notes", type=Path, default=Path(f"var/bench/gpu-{moment}.jsonl"))
    parser.add_argument("--markdown", type=Path, help="write a table for the documents")
    parser.add_argument("--read", type=Path, help="tell a run again from its notes; nothing is measured")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

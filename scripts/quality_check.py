"""Judges what lossy modes do to pictures on this machine: each against bf16, with a second bf16 run as the noise floor.

    python scripts/quality_check.py [--profile flux1-dev] [--modes fp8,int8,nf4,safe,fast,fp8+fast] [--pictures 12]

Every mode draws the same words, poses and seeds. The second bf16 run draws them in other batches and another order:
what differs there is rounding, and nothing can be closer. Measured are PSNR, SSIM, LPIPS where `lpips` is installed,
and how many joints are where the pose has them, where a detector has its weights. The verdict goes to
var/quality/<profile>.json, where workers look when they are asked for a lossy mode, and a sheet with all pictures side
by side beside it: look at it, no number replaces that.

The exit code is 0 when every mode passed, 1 when one did not, 2 when one could not be measured. Needs the weights; the
built-in model is judged with `--profile tiny --device cpu`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from quality_measures import Picture, joints_kept, open_joints, open_lpips, psnr_db, ssim
from quality_pictures import Asked, Drawn, draw, loaded, wanted
from quality_verdict import Measures, Verdict, exit_code, judge_mode

from models.devices import device_title, resolve_device
from models.errors import ModelsError
from models.inflight import InflightEngine
from models.memory_plan import WeightPrecision
from models.profiles import profile as find_profile
from models.quality import VERDICTS, lossy_mode, verdict_file
from models.velocity_cache import CacheMode
from posegen.poses import contact_sheet

MODES = ("fp8", "int8", "nf4", "safe", "fast", "fp8+fast")
PACKAGES = ("torch", "diffusers", "torchao", "bitsandbytes", "lpips")
CELL_PX = 320
LOSSLESS = ("bf16", "bf16 again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A lossy mode: its name, and what it is made of."""

    precision: WeightPrecision
    cache: CacheMode

    @property
    def name(self) -> str:
        """What `models.quality` calls it; bf16 for nothing lossy."""
        return lossy_mode(self.precision, self.cache) or WeightPrecision.BF16.value


def mode_of(name: str) -> Mode:
    """Read fp8, fast or fp8+fast. Raises ValueError."""
    precision, cache = WeightPrecision.BF16, CacheMode.OFF
    for part in name.split("+"):
        if part in [known.value for known in WeightPrecision]:
            precision = WeightPrecision(part)
        else:
            cache = CacheMode(part)
    mode = Mode(precision=precision, cache=cache)
    if mode.name != name or name == WeightPrecision.BF16.value:
        raise ValueError(f"{name!r} is no lossy mode")
    return mode


@dataclass(slots=True, kw_only=True)
class Check:
    """One run: the pictures of all modes, and what was found of each."""

    asked: argparse.Namespace
    device: torch.device
    pictures: Sequence[Asked]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    def draw_all(self) -> None:
        """Draw what is lossless twice, and then every mode; a mode that cannot be loaded here is noted."""
        lossless, again = LOSSLESS
        modes = sorted(self.asked.modes, key=lambda mode: list(WeightPrecision).index(mode.precision))
        with self._engine(WeightPrecision.BF16) as engine:
            self.drawn[lossless] = draw(engine, self.pictures, rows=self.asked.batch)
            other_rows = self.asked.batch - 1 if self.asked.batch > 1 else 2
            self.drawn[again] = draw(engine, self.pictures[::-1], rows=other_rows)
            self._draw(engine, (mode for mode in modes if mode.precision is WeightPrecision.BF16))
        for precision, group in groupby(modes, key=lambda mode: mode.precision):
            if precision is not WeightPrecision.BF16:
                self._draw_with(precision, list(group))

    def _draw_with(self, precision: WeightPrecision, modes: list[Mode]) -> None:
        try:
            with self._engine(precision) as engine:
                self._draw(engine, modes)
        except (ModelsError, RuntimeError) as error:  # whatever a library cannot do on this machine
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.unmeasured |= {mode.name: reason for mode in modes if mode.name not in self.drawn}

    def _draw(self, engine: InflightEngine, modes: Iterable[Mode]) -> None:
        for mode in modes:
            print(f"drawing {mode.name}", file=sys.stderr, flush=True)
            self.drawn[mode.name] = draw(engine, self.pictures, rows=self.asked.batch, cache=mode.cache)

    def _engine(self, precision: WeightPrecision) -> Any:
        return loaded(self.asked.profile, str(self.device), self.asked.models_dir, precision, self.asked.batch)

    def judge(self) -> dict[str, Any]:
        """Measure all pictures; returns what the verdict file says."""
        lpips, said_of_lpips = open_lpips(self.device)
        detector, said_of_joints = open_joints(self.asked.detectors_dir, self.device)
        lossless, again = LOSSLESS
        joints: dict[str, list[float]] = {}
        if detector is not None:
            of = {one.request.key: one.pose.pose for one in self.pictures}
            joints = {
                name: [joints_kept(detector, picture, of[key]) for key, picture in sorted(drawn.items())]
                for name, drawn in self.drawn.items()
            }
        measures: dict[str, Measures] = {}
        for name, drawn in self.drawn.items():
            pairs = [(picture, self.drawn[lossless][key]) for key, picture in sorted(drawn.items())]
            measures[name] = Measures(
                psnr_db=[psnr_db(*pair) for pair in pairs],
                ssim=[ssim(*pair) for pair in pairs],
                lpips=None if lpips is None else [lpips(*pair) for pair in pairs],
                joints=joints.get(name),
                undrawn=len(self.pictures) - len(drawn),
            )
        kept = measures[lossless].told()["joints_kept"]
        verdicts = {
            name: judge_mode(found, measures[again], joints_lossless=kept)
            for name, found in measures.items()
            if name not in LOSSLESS
        }
        return self._told(measures, verdicts) | {"notes": [said_of_lpips, said_of_joints]}

    def _told(self, measures: dict[str, Measures], verdicts: dict[str, Verdict]) -> dict[str, Any]:
        lossless, again = LOSSLESS
        first = self.pictures[0].request
        return {
            "profile": self.asked.profile,
            "device_name": device_title(self.device),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "scripts/quality_check.py", *sys.argv[1:]]),
            "packages": {name: _version(name) for name in PACKAGES},
            "pictures": len(self.pictures),
            "size": f"{first.width}x{first.height}",
            "steps": first.steps,
            "lossless": measures[lossless].told(),
            "noise_floor": measures[again].told(),
            "modes": {
                name: {"passed": verdict.passed, "reasons": list(verdict.reasons), **measures[name].told()}
                for name, verdict in verdicts.items()
            },
            "unmeasured": self.unmeasured,
            "exit_code": exit_code(verdicts, self.unmeasured),
        }

    def sheet(self) -> Image.Image:
        """Lay out every picture of every mode: a row a picture, a column a mode, the pose first."""
        cells = []
        for one in self.pictures:
            key = one.request.key
            cells.append((one.request.control or Image.new("RGB", (1, 1)), one.pose.name))
            for name, drawn in self.drawn.items():
                missing = Image.new("RGB", one.request.size)
                cells.append((_image(drawn[key]) if key in drawn else missing, name))
        return contact_sheet(cells, columns=1 + len(self.drawn), cell_px=CELL_PX)


def main() -> int:
    """Draw, measure, judge, and leave verdict and sheet; returns the exit code."""
    asked = _parse()
    known = find_profile(asked.profile)
    device = resolve_device(asked.device)
    size = known.default_size if asked.size is None else asked.size
    pictures = wanted(known, asked.pictures, size, known.default_steps if asked.steps is None else asked.steps)
    check = Check(asked=asked, device=device, pictures=pictures)
    check.draw_all()
    verdict = check.judge()
    file = verdict_file(asked.out, asked.profile)
    file.parent.mkdir(parents=True, exist_ok=True)
    check.sheet().save(file.with_suffix(".png"))
    file.write_text(json.dumps(verdict, indent=2) + "\n")
    print(json.dumps(verdict, indent=2) if asked.json else _text(verdict, file))
    return int(verdict["exit_code"])


def _text(verdict: dict[str, Any], file: Path) -> str:
    lines = [f"{verdict['pictures']} pictures of {verdict['size']}, {verdict['steps']} steps, {verdict['device_name']}"]
    rows = {"bf16 again": verdict["noise_floor"], **verdict["modes"]}
    for name, found in rows.items():
        outcome = {True: "passed", False: "did not pass"}.get(found.get("passed"), "the noise floor")
        lines.append(
            f"  {name:12} {outcome:16} PSNR {found['psnr_db_mean'] or 0:6.1f} dB ({found['psnr_db_worst'] or 0:.1f}), "
            f"SSIM {found['ssim_mean'] or 0:.4f} ({found['ssim_worst'] or 0:.4f})"
        )
        lines += [f"      {reason}" for reason in found.get("reasons", ())]
    lines += [f"  {name:12} not measured: {reason}" for name, reason in verdict["unmeasured"].items()]
    return "\n".join([*lines, *verdict["notes"], f"Verdict: {file}; pictures side by side: {file.with_suffix('.png')}"])


def _image(picture: Picture) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _size(given: str) -> tuple[int, int]:
    width, height = map(int, given.split("x"))
    return width, height


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the verdict file")
    parser.add_argument("--profile", default="flux1-dev")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--modes", default=[mode_of(name) for name in MODES], type=lambda names: [*map(mode_of, names.split(","))]
    )
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, help="default: the profile's")
    parser.add_argument("--size", type=_size, help="such as 768x1024; default: the profile's")
    parser.add_argument("--models-dir", type=Path, default=Path("var/models"))
    parser.add_argument("--detectors-dir", type=Path, default=Path("var/detectors"))
    parser.add_argument("--out", type=Path, default=Path("var") / VERDICTS, help="where verdict and sheet go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""The measurement of the engine tells what it promises, and that both sides drew the same pictures."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_speeds_of_all_ways_are_told_and_the_pictures_are_the_same(tmp_path: Path) -> None:
    small = ("--pictures", "2", "--batch", "2", "--steps", "2", "--repeats", "1")
    further = ("--tables", "--cached")
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench_engine.py", "--json", *small, *further, "--models-dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
    )

    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    speeds = ("singles_per_s", "stock_batched_per_s", "ours_per_s", "ours_staggered_per_s")
    assert all(told[name] > 0 for name in (*speeds, "ours_tables_per_s", "ours_safe_per_s", "ours_fast_per_s"))
    assert told["max_difference"] < 1e-4
    assert (told["ours_fast_difference"], told["ours_fast_psnr_db"]) == (0, 200)  # two steps: none can be skipped

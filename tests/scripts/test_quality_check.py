"""The judge of lossy modes: its measures, its limits, and one whole run over the built-in model."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import quality_check
from PIL import Image
from quality_check import MODES, mode_of
from quality_measures import SAME_DB, best_share, joints_kept, psnr_db, ssim
from quality_pictures import wanted
from quality_verdict import Measures, Verdict, exit_code, judge_mode

from models.detectors.people import FoundPerson, FoundPoint
from models.profiles import FLUX1_DEV, TINY
from models.quality import doubt
from posegen.poses import frame_pose, read_library

CHANCE = np.random.default_rng(7)
PICTURE = CHANCE.random((40, 56, 3), dtype=np.float32)
FLOOR = Measures(psnr_db=[60.0], ssim=[0.999])


def good(**changes: object) -> Measures:
    found = {"psnr_db": [24.0, 22.0], "ssim": [0.9, 0.8]} | changes
    return Measures(**found)  # type: ignore[arg-type]


def test_psnr_is_that_of_a_known_error() -> None:
    assert psnr_db(PICTURE, PICTURE) == SAME_DB
    assert psnr_db(PICTURE, PICTURE + np.float32(0.1)) == pytest.approx(20, abs=1e-3)


def test_ssim_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    other = np.clip(PICTURE + CHANCE.normal(0, 0.2, PICTURE.shape), 0, 1).astype(np.float32)
    grey = [one @ np.array([0.299, 0.587, 0.114]) for one in (PICTURE, other)]
    assert ssim(PICTURE, other) == pytest.approx(metrics.structural_similarity(*grey, data_range=1.0), abs=1e-3)
    assert ssim(PICTURE, PICTURE) == pytest.approx(1)


def person(*places: tuple[float, float] | None) -> FoundPerson:
    points = [None if place is None else FoundPoint(*place, 1.0) for place in places]
    return FoundPerson(body=tuple(points + [None] * (18 - len(points))))


def test_joints_are_kept_within_a_tenth_of_the_person_by_whoever_has_most_of_them() -> None:
    asked = [(0.0, 0.0), (0.0, 100.0), (50.0, 50.0), None]
    stranger, meant = person((500.0, 0.0)), person((0.0, 9.9), (0.0, 111.0), (50.0, 50.0))
    assert best_share(asked, [stranger, meant]) == pytest.approx(2 / 3)
    assert best_share(asked, []) == 0


def test_joints_are_looked_for_where_the_control_map_has_them() -> None:
    pose = next(pose.pose for pose in read_library().poses if len(pose.pose.people) == 1)

    class Exact:
        name = "exact"

        def detect(self, photo: Image.Image) -> list[FoundPerson]:
            body = frame_pose(pose, photo.width / photo.height).people[0].body
            return [person(*((point.x * photo.width, point.y * photo.height) if point else None for point in body))]

    assert joints_kept(Exact(), np.zeros((128, 96, 3), dtype=np.float32), pose) == 1


def test_a_mode_passes_within_the_limits_and_says_every_one_that_it_missed() -> None:
    assert judge_mode(good(), FLOOR, joints_lossless=None) == Verdict(passed=True, reasons=())
    bad = judge_mode(good(ssim=[0.9, 0.5], psnr_db=[19.0], undrawn=1), FLOOR, joints_lossless=None)
    assert not bad.passed
    assert [reason.split()[0] for reason in bad.reasons] == ["1", "ssim_mean", "ssim_worst", "psnr_db_mean"]
    assert not judge_mode(Measures(psnr_db=[], ssim=[]), FLOOR, joints_lossless=None).passed


def test_nothing_is_asked_that_a_second_lossless_run_does_not_reach() -> None:
    noisy = Measures(psnr_db=[15.0], ssim=[0.4], lpips=[0.5], joints=[0.7])
    mode = good(psnr_db=[16.0], ssim=[0.45], lpips=[0.4], joints=[0.7])
    assert judge_mode(mode, noisy, joints_lossless=0.9).passed
    assert not judge_mode(mode, FLOOR, joints_lossless=0.9).passed


def test_lpips_and_joints_count_where_they_were_measured() -> None:
    floor = Measures(psnr_db=[60.0], ssim=[0.99], lpips=[0.01], joints=[0.9])
    assert judge_mode(good(lpips=[0.1], joints=[0.86]), floor, joints_lossless=0.9).passed
    found = judge_mode(good(lpips=[0.3], joints=[0.8]), floor, joints_lossless=0.9)
    assert [reason.split()[0] for reason in found.reasons] == ["lpips_mean", "joints_kept"]


def test_the_exit_code_tells_bad_from_unknown() -> None:
    passed, failed = Verdict(passed=True, reasons=()), Verdict(passed=False, reasons=("x",))
    assert exit_code({"fp8": passed}, {}) == 0
    assert exit_code({"fp8": passed, "fast": failed}, {"nf4": "no library"}) == 1
    assert exit_code({"fp8": passed}, {"nf4": "no library"}) == 2
    assert exit_code({}, {}) == 2


def test_every_mode_has_the_name_that_workers_look_for() -> None:
    assert [mode_of(name).name for name in MODES] == list(MODES)
    for name in ("bf16", "fast+fp8", "fp4", "off"):
        with pytest.raises(ValueError, match=re.escape(name)):
            mode_of(name)


def test_the_pictures_are_of_one_person_each_with_a_pose_of_their_own() -> None:
    asked = wanted(FLUX1_DEV, 12, (512, 512), 28)
    assert len({one.pose.slug for one in asked}) == 12
    assert all(len(one.pose.pose.people) == 1 and one.request.control is not None for one in asked)
    assert len({one.request.prompt for one in asked}) == 12


def test_a_run_leaves_a_verdict_and_a_sheet_and_workers_believe_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--pictures", "2", "--batch", "2", "--steps", "12", "--size", "128x128", "--modes", "safe,nf4"]
    places = ["--models-dir", str(tmp_path / "models"), "--out", str(tmp_path), "--detectors-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["quality_check.py", "--profile", "tiny", "--device", "cpu", *small, *places])
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as where it is not installed

    code = quality_check.main()

    told = capsys.readouterr().out
    verdict = json.loads((tmp_path / "tiny.json").read_text())
    assert code == verdict["exit_code"] == 2, "nf4 could not be measured"
    assert list(verdict["unmeasured"]) == ["nf4"]
    assert "needs bitsandbytes" in verdict["unmeasured"]["nf4"]
    assert verdict["modes"]["safe"]["passed"]
    assert 30 < verdict["modes"]["safe"]["psnr_db_worst"] < verdict["noise_floor"]["psnr_db_worst"]
    assert verdict["lossless"]["psnr_db_mean"] == SAME_DB
    assert "safe         passed" in told
    assert "Key-points were not measured" in told
    with Image.open(tmp_path / "tiny.png") as sheet:
        columns, rows = 4, 2
        assert sheet.width > columns * quality_check.CELL_PX
        assert sheet.height > rows * quality_check.CELL_PX
    assert doubt(tmp_path, TINY.name, "safe", "CPU") is None
    assert doubt(tmp_path, TINY.name, "fast", "CPU") is not None

"""A worker process judges its pictures with a real detector, draws those once more that miss, and charges once."""

from typing import TYPE_CHECKING

from support.detectors import write_rtmlib
from support.waiting import wait_until

from posegen.identifiers import seed_of_redraw

if TYPE_CHECKING:
    from .conftest import Service

APP = "/api/apps/pose-generator"
WORKER = """
import sys
import gpu_worker.process
from gpu_worker.__main__ import main
from gpu_worker.engine_choice import LoadedEngine
from models.fake import FakeEngine
from models.profiles import FLUX1_DEV

def opens(options, settings):
    return LoadedEngine(engine=FakeEngine(FLUX1_DEV, 2), device="cpu", device_name=None)

gpu_worker.process.open_engine = opens
sys.exit(main())
"""


def test_pictures_that_miss_their_pose_are_drawn_twice_and_paid_once(sqlite_service: "Service") -> None:
    """rtmlib's real runtime, with models that see the same person everywhere: no library pose is held by that."""
    service = sqlite_service
    service.configure(PROFILE="flux1-dev", REDRAW_BELOW="0.99")
    write_rtmlib(service.folder / "var" / "detectors")
    service.start_api()
    ann = service.customer("ann", credits=1000)
    ordered = ann.order(2, 1, width=512, height=512)

    worker = service.start_script("judging", WORKER, "--device", "cpu", "--burst")
    wait_until(lambda: ann.status(ordered) == "completed", timeout_s=120, message=lambda: worker.log)

    pictures = ann.get(f"{APP}/generations/{ordered}/results")["results"]
    seeds = {item.variation_key: (item.seed, item.redraw) for item in service.house.items()}
    assert worker.log.count("picture.redrawn") == 2
    assert len(pictures) == 2
    for picture in pictures:
        assert 0 <= picture["poseScore"] < 0.99
        assert picture["aiConfidenceScore"] == picture["poseScore"]
        assert picture["seedUsed"] == seed_of_redraw(*seeds[picture["variationKey"]])
        assert f"seed {picture['seedUsed']}".encode() in ann.fetch(picture["outputImageUrl"])
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000 - 60
    service.house.assert_books_balance(beside_api=True)

"""A photo walked through real processes: given back by a worker that leaves, taken from one that is killed, found."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.detectors import PLACES, write_rtmlib
from support.photos import photo
from support.waiting import wait_until

if TYPE_CHECKING:
    from .conftest import Customer, Service

APP = "/api/apps/pose-generator"
LOOK_FOR_EVER = """
import sys, time
import models.detectors.rtm as rtm
from gpu_worker.__main__ import main

def detect(self, photo):
    print("looking at it", flush=True)
    time.sleep(3600)

rtm.RtmDetector.detect = detect
sys.exit(main())
"""
pytestmark = pytest.mark.timeout(300)


def upload(customer: "Customer") -> Any:
    return customer.http.post(f"{APP}/poses/detect", files={"image": ("me.jpg", photo())})


def stored_photos(service: "Service") -> list[Path]:
    return [file for file in (service.folder / "var" / "storage").rglob("detections/*") if file.is_file()]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_photo_outlives_workers_that_leave_and_die_and_is_found_by_the_next(service: "Service") -> None:
    write_rtmlib(service.folder / "var" / "detectors")
    service.start_api()
    ann = service.customer("ann", credits=1000)
    assert upload(ann).status_code == 503
    leaving = service.start_script("leaving", LOOK_FOR_EVER, "--device", "fake")
    leaving.wait_for_log("worker.ready", timeout_s=60)
    wait_until(lambda: (answer := upload(ann)).status_code == 202 and answer, message="a worker that can detect")
    assert [worker["detector"] for worker in ann.get(f"{APP}/health")["workers"]] == ["rtmlib"]
    (item,) = service.house.items()
    leaving.wait_for_log("looking at it")

    assert leaving.terminate(timeout_s=15) == 0

    given_back = service.house.item(item.id)
    assert (given_back.status, given_back.attempt, given_back.crashes) == ("queued", 1, 0)
    dying = service.start_script("dying", LOOK_FOR_EVER, "--device", "fake")
    dying.wait_for_log("looking at it", timeout_s=60)
    dying.kill()
    finding = service.start_worker("finding", "--device", "fake")
    told = wait_until(
        lambda: (answer := ann.get(f"{APP}/poses/detect/{item.id}"))["status"] == "completed" and answer,
        timeout_s=60,
        message=lambda: finding.log,
    )

    nose = told["people"][0]["pose_keypoints_2d"][:2]
    assert nose == pytest.approx([PLACES[0][0] / 640, PLACES[0][1] / 512], abs=0.01)
    assert (told["canvas_width"] / told["canvas_height"], told["errorMessage"]) == (640 / 512, None)
    final = service.house.item(item.id)
    assert (final.attempt, final.crashes) == (3, 1)
    wait_until(lambda: not stored_photos(service), message="the photo deleted")
    assert ann.get("/api/credits/balance")["data"]["balance"] == 1000
    service.house.assert_books_balance()

"""A photo becomes a pose, over HTTP: refused with what to fetch, or taken, followed and ordered."""

from pathlib import Path
from typing import Any

import httpx2
from support.house import PEOPLE, House
from support.photos import photo
from support.serving import NOBODY_LISTENS, ROOT, Served, serving, settings_for

from posegen import detections
from posegen.bell import Bell
from posegen.database import database_now
from posegen.poses import pose_from_openpose, pose_to_openpose
from posegen.statuses import WorkerStatus
from posegen.workforce import WorkerReport, report

DETECT = f"{ROOT}/poses/detect"
SMALL = photo(width=512, height=512)
POSE = pose_to_openpose(pose_from_openpose(PEOPLE).pose)


def a_worker(house: House, *, detector: str | None, reason: str | None) -> None:
    """A worker that says this of itself now."""
    said = WorkerReport(
        name="box-1",
        host="here",
        pid=1,
        device="cpu",
        device_name=None,
        profile="tiny",
        status=WorkerStatus.READY,
        max_batch=4,
        capabilities={"detect": detections.ability(detector=detector, reason=reason)},
    )
    with house.database.writing() as session:
        report(session, said, now=database_now(session))


def claim(house: House) -> detections.DetectionClaim:
    with house.database.writing() as session:
        taken = detections.claim_detection(session, worker="box-1", lease_s=60, now=database_now(session))
    assert taken is not None
    return taken


def upload(client: httpx2.Client, content: bytes | None = None, name: str = "me.jpg") -> httpx2.Response:
    return client.post(DETECT, files={"image": (name, photo() if content is None else content)})


def files_of(folder: Path) -> list[Path]:
    return [file for file in (folder / "storage").rglob("*") if file.is_file()]


def test_without_a_detector_the_customer_is_told_kindly_and_the_operator_exactly(
    sqlite_house: House, sqlite_url: str, tmp_path: Path
) -> None:
    with serving(settings_for(sqlite_url, tmp_path, redis_url=NOBODY_LISTENS)) as served:
        ann = served.client("ann")
        alone = upload(ann)
        a_worker(sqlite_house, detector=None, reason="no weights: none anywhere")
        refused = upload(ann)

    assert alone.json()["reasons"] == ["no worker is running"]
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    told = refused.json()
    assert told["code"] == "no_detector"
    assert told["message"].startswith("Photos cannot be turned into poses here at the moment")
    assert told["reasons"] == ["box-1: no weights: none anywhere"]
    fetch = f"hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --local-dir {tmp_path / 'detectors'}"
    assert fetch in told["operatorHint"]
    assert files_of(tmp_path) == []


def test_a_photo_is_taken_followed_and_its_pose_edited_drawn_and_ordered(
    sqlite_house: House, sqlite_served: Served, redis_url: str, tmp_path: Path
) -> None:
    a_worker(sqlite_house, detector="rtmlib", reason=None)
    sqlite_house.customer("bob")
    ann = sqlite_served.client("ann")
    balance = sqlite_house.balance("ann")

    taken = upload(ann)

    assert taken.status_code == 202, taken.text
    detection_id = taken.json()["detectionId"]
    assert taken.headers["location"] == f"{DETECT}/{detection_id}"
    bell = Bell(redis_url)
    assert bell.waiting() >= 1
    bell.close()
    assert len(files_of(tmp_path)) == 1
    nothing: dict[str, Any] = {"people": None, "canvas_width": None, "canvas_height": None, "errorMessage": None}
    assert ann.get(taken.headers["location"]).json() == {"status": "queued", **nothing}
    assert sqlite_served.client("bob").get(taken.headers["location"]).status_code == 404

    held = claim(sqlite_house)
    assert ann.get(taken.headers["location"]).json() == {"status": "processing", **nothing}
    with sqlite_house.database.writing() as session:
        assert detections.finish_detection(session, held, POSE, now=database_now(session))

    told = ann.get(taken.headers["location"]).json()
    assert told == {"status": "completed", **POSE, "errorMessage": None}
    pose = {key: told[key] for key in POSE}
    imported = ann.post(f"{ROOT}/poses/import", json=pose).json()
    assert imported == {**pose, "assumptions": []}, "exactly as /poses/import answers"
    assert ann.post(f"{ROOT}/poses/render", json={**pose, "mirror": True}).status_code == 200
    project = sqlite_house.project("ann")
    order = {"projectId": project, "generationType": "GALLERY_REFERENCE", "poses": [pose], "batchSize": 1}
    assert ann.post(f"{ROOT}/generate", json=order).status_code == 202
    assert sqlite_house.balance("ann") == balance - 30, "the picture costs, the detection does not"
    listed = ann.get(f"{ROOT}/generations").json()
    assert listed["pagination"]["total"] == 1
    assert ann.get(f"{ROOT}/stats").status_code == 200


def test_only_photos_are_taken_and_only_so_many_a_minute(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    a_worker(sqlite_house, detector="rtmlib", reason=None)
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url, upload_rate="5/minute")) as served:
        ann = served.client("ann")
        assert upload(served.client()).status_code == 401
        assert ann.post(DETECT, files={"other": ("a.jpg", photo())}).status_code == 400
        refused = [
            upload(ann, b"no photo").status_code,
            upload(ann, photo(width=100)).status_code,
            upload(ann, name="../me.jpg").status_code,
            upload(ann, photo() + bytes(10 * 1024 * 1024)).status_code,
        ]
        taken = upload(ann).status_code
        too_often = upload(ann)

    assert refused == [415, 400, 400, 413]
    assert taken == 202
    assert (too_often.status_code, "Retry-After" in too_often.headers) == (429, True)
    assert len(files_of(tmp_path)) == 1


def test_one_user_has_so_many_photos_open_at_a_time(served: Served, house: House, tmp_path: Path) -> None:
    a_worker(house, detector="rtmlib", reason=None)
    house.customer("bob")
    ann = served.client("ann")
    for _ in range(detections.MOST_OPEN):
        assert upload(ann, SMALL).status_code == 202
    held = claim(house)

    refused = upload(ann, SMALL)
    another = upload(served.client("bob"), SMALL)
    with house.database.writing() as session:
        assert detections.finish_detection(session, held, POSE, now=database_now(session))

    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert another.status_code == 202
    assert len(files_of(tmp_path)) == detections.MOST_OPEN + 1, "what is refused is not stored"
    assert upload(ann, SMALL).status_code == 202

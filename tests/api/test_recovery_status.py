"""Recovery as an administrator sees it over HTTP."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.house import House
from support.photos import photo
from support.serving import ROOT, Served, serving, settings_for
from support.waiting import wait_until

from posegen.detections import WAITS_FOR, place_detection, store_photo
from posegen.storage import Storage
from posegen.tables import User
from posegen.uploads import check_photo

STATUS = f"{ROOT}/recovery/status"


def test_only_an_administrator_is_told_how_recovery_stands(sqlite_served: Served, sqlite_house: House) -> None:
    ann = sqlite_served.client("ann")
    sqlite_house.order("ann", 2)
    refused = [sqlite_served.client().get(STATUS).status_code, ann.get(STATUS).status_code]
    with sqlite_house.database.writing() as session:
        session.get_one(User, "ann").role = "admin"

    told = wait_until(lambda: (answer := ann.get(STATUS).json())["lastRecoveryRun"] and answer)

    assert refused == [401, 403]
    ran_at = datetime.fromisoformat(told.pop("lastRecoveryRun"))
    assert abs(datetime.now(UTC) - ran_at) < timedelta(minutes=1)
    assert told == {"stalledGenerations": 0, "queuedGenerations": 1, "processingGenerations": 0}


def test_recovery_by_hand_deletes_the_photos_that_it_gives_up(
    sqlite_house: House, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    with sqlite_house.database.writing() as session:
        session.get_one(User, "ann").role = "admin"
    with serving(settings_for(sqlite_url, tmp_path, redis_url=redis_url, recover_every_s=60)) as served:
        ann, storage = served.client("ann"), Storage(served.settings.storage_dir)
        wait_until(lambda: ann.get(STATUS).json()["lastRecoveryRun"])  # the API's own round, the only one
        stored = store_photo(storage, "ann", check_photo(photo(), file_name=None))
        with sqlite_house.database.writing() as session:
            place_detection(session, "ann", stored, now=datetime.now(UTC) - 2 * WAITS_FOR)

        assert ann.post(f"{ROOT}/recovery/trigger").json()["success"] is True

        assert not storage.holds(stored.key)

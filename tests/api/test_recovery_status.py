"""Recovery as an administrator sees it over HTTP."""

from datetime import UTC, datetime, timedelta

from support.house import House
from support.serving import ROOT, Served
from support.waiting import wait_until

from posegen.tables import User

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

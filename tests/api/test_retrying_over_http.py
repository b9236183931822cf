"""Retrying the failed pictures of a generation as a client does."""

import httpx2
from support.house import House
from support.serving import ROOT, Served


def test_a_retry_is_answered_like_an_order(sqlite_ann: httpx2.Client, sqlite_house: House) -> None:
    first = _failed(sqlite_house)
    path = f"{ROOT}/generations/{first}/retry"

    taken = sqlite_ann.post(path, headers={"Idempotency-Key": "k"})
    again = sqlite_ann.post(path, headers={"Idempotency-Key": "k"})
    other = sqlite_ann.post(path)

    told = taken.json()
    made = told["generationId"]
    assert (taken.status_code, again.status_code, again.content) == (202, 202, taken.content)
    assert taken.headers["location"] == f"{ROOT}/generations/{made}"
    assert "ratelimit" in taken.headers
    assert {**told, "generationId": "", "estimatedCompletionTime": None} == {
        "success": True,
        "generationId": "",
        "status": "processing",
        "totalPosesExpected": 2,
        "creditCharged": 60,
        "estimatedCompletionTime": None,
        "message": "2 pictures ordered for 60 credits.",
    }
    assert sqlite_ann.get(f"{ROOT}/generations/{made}").json()["generation"]["retryOf"] == first
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert sqlite_house.balance("ann") == 940
    sqlite_house.assert_books_balance(beside_api=True)


def test_a_retry_counts_against_the_rates_with_its_pictures(sqlite_served: Served, sqlite_house: House) -> None:
    first = _failed(sqlite_house)

    taken = sqlite_served.client("ann").post(f"{ROOT}/generations/{first}/retry")

    assert '"pictures";r=99998' in taken.headers["ratelimit"]


def test_a_retry_of_somebody_elses_generation_is_404(sqlite_served: Served, sqlite_house: House) -> None:
    sqlite_house.customer("bob")
    first = _failed(sqlite_house)

    assert sqlite_served.client("bob").post(f"{ROOT}/generations/{first}/retry").status_code == 404
    assert sqlite_served.client().post(f"{ROOT}/generations/{first}/retry").status_code == 401


def _failed(house: House) -> str:
    generation_id = house.order("ann", 2).generation_id
    for claim in house.claim(2):
        house.fail(claim)
    return generation_id

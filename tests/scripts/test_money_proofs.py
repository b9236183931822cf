"""Short versions of the proofs about money: many at once spend, refund and repeat, and every figure is exact."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from money_proofs import furnish, prove_refunds, prove_spends, prove_submits
from support.serving import serving, settings_for

from posegen.database import Database


def test_clients_of_several_processes_get_exactly_what_one_balance_pays(database_url: str) -> None:
    spent = prove_spends(database_url, clients=8, spends=12, balance=30 * 40 + 29, cost=30, processes=2)

    assert spent.good, spent
    assert (spent.succeeded, spent.refused, spent.left) == (40, 56, 29)


def test_refunds_sent_again_and_again_by_several_processes_are_one_entry_each(database_url: str) -> None:
    refunded = prove_refunds(database_url, pictures=3, times=3, processes=2)

    assert refunded.good, refunded
    assert (refunded.sent, refunded.refunded_credits) == (3 * 3 * 2 * 2, 90)


def test_a_hundred_who_send_one_order_with_one_key_pay_once_and_are_answered_alike(
    database_url: str, tmp_path: Path
) -> None:
    database = Database(database_url)
    project_id, pose_id = furnish(database, credits=1000)
    database.close()

    @contextmanager
    def served() -> Iterator[tuple[str, str]]:
        with serving(settings_for(database_url, tmp_path)) as running:
            yield running.url, running.token("ann")

    body = {
        "projectId": project_id,
        "generationType": "GALLERY_REFERENCE",
        "selectedPoseIds": [pose_id],
        "batchSize": 2,
    }
    submitted = prove_submits(database_url, served, clients=100, body=body)

    assert submitted.good, submitted

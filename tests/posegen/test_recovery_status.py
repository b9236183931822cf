"""What an operator is told of recovery: each open generation once, and a last run that is true for all processes."""

from sqlalchemy import select
from support.house import NOW, House, all_at_once, later

from posegen.recovery_status import NOTE_EVERY, RecoveryStatus, note_run, recovery_status
from posegen.tables import RecoveryRun


def status(house: House, seconds: float = 0) -> RecoveryStatus:
    with house.database.reading() as session:
        return recovery_status(session, now=later(seconds))


def note(house: House, seconds: float, *, healed: bool = False) -> None:
    with house.database.writing() as session:
        note_run(session, healed=healed, now=later(seconds))


def test_every_open_generation_is_counted_once(house: House) -> None:
    house.customer()
    for _ in range(4):
        house.order("ann", 2)
    house.claim(3, lease_s=20)
    house.claim(2, lease_s=60)

    assert status(house) == RecoveryStatus(stalled=0, queued=1, processing=3, last_run_at=None)
    assert status(house, 30) == RecoveryStatus(stalled=2, queued=1, processing=1, last_run_at=None)


def test_the_last_run_is_that_of_any_process_also_after_a_restart(house: House) -> None:
    note(house, 0)
    note(house, NOTE_EVERY.total_seconds())

    assert status(house).last_run_at == NOW + NOTE_EVERY


def test_rounds_that_heal_nothing_write_a_row_only_every_ten_seconds(house: House) -> None:
    note(house, 0)
    note(house, 9)
    assert status(house).last_run_at == NOW

    note(house, 9, healed=True)

    assert status(house).last_run_at == later(9)


def test_a_late_note_of_an_earlier_run_changes_nothing(house: House) -> None:
    note(house, 60)
    note(house, 30, healed=True)

    assert status(house).last_run_at == later(60)


def test_eight_first_runs_at_once_are_one_row(house: House) -> None:
    assert all_at_once([lambda: note(house, 0)] * 8) == [None] * 8

    with house.database.reading() as session:
        assert session.scalars(select(RecoveryRun.ended_at)).all() == [NOW]

"""The rule of who is drawn next, on plain values."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

from models.loras import Lora
from posegen.queueing import PATIENCE, TIER_SHARE, Candidate, Room, choose

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SMALL, LARGE = (128, 128), (256, 256)


def waiting(
    item_id: str,
    user_id: str = "ann",
    *,
    unlimited: bool = False,
    served_s_ago: float | None = None,
    turn: int = 0,
    waited_s: float = 1.0,
    size_px: tuple[int, int] = SMALL,
    loras: tuple[Lora, ...] = (),
    suspect: bool = False,
) -> Candidate:
    return Candidate(
        item_id=item_id,
        user_id=user_id,
        unlimited=unlimited,
        user_served_at=None if served_s_ago is None else NOW - timedelta(seconds=served_s_ago),
        turn=turn,
        queued_at=NOW - timedelta(seconds=waited_s),
        size_px=size_px,
        loras=loras,
        suspect=suspect,
    )


def chosen(candidates: list[Candidate], room: Room, *, recent: tuple[bool, ...] = ()) -> list[str]:
    return [candidate.item_id for candidate in choose(candidates, room, recent_unlimited=recent, now=NOW)]


def test_no_more_is_chosen_than_there_are_free_rows() -> None:
    line = [waiting(f"i{number}", turn=number) for number in range(5)]

    assert chosen(line, Room(free_rows=3)) == ["i0", "i1", "i2"]


def test_nothing_is_chosen_for_a_full_engine() -> None:
    assert chosen([waiting("a")], Room(free_rows=0)) == []


def test_nothing_is_chosen_from_an_empty_queue() -> None:
    assert chosen([], Room(free_rows=4)) == []


def test_users_take_turns_however_long_one_order_is() -> None:
    line = [waiting(f"ann{number}", "ann", turn=number, waited_s=60 - number) for number in range(50)]
    line += [waiting(f"bob{number}", "bob", turn=number, waited_s=5) for number in range(2)]

    assert chosen(line, Room(free_rows=4)) == ["ann0", "bob0", "ann1", "bob1"]


def test_the_user_served_least_recently_comes_first() -> None:
    line = [waiting("a", "ann", served_s_ago=1, waited_s=90), waiting("b", "bob", served_s_ago=50, waited_s=2)]

    assert chosen(line, Room(free_rows=1)) == ["b"]


def test_a_user_who_was_never_served_comes_before_all_who_were() -> None:
    line = [waiting("a", "ann", served_s_ago=5000, waited_s=90), waiting("b", "bob", waited_s=2)]

    assert chosen(line, Room(free_rows=1)) == ["b"]


def test_between_equals_age_decides() -> None:
    line = [waiting("young", "ann", waited_s=2), waiting("old", "bob", waited_s=20)]

    assert chosen(line, Room(free_rows=2)) == ["old", "young"]


def test_the_unlimited_tier_goes_first() -> None:
    line = [waiting("paying", "ann", waited_s=90), waiting("unlimited", "bob", unlimited=True, waited_s=1)]

    assert chosen(line, Room(free_rows=1)) == ["unlimited"]


def test_the_unlimited_tier_takes_three_of_four_claims_while_others_wait() -> None:
    line = [waiting(f"u{number}", "bob", unlimited=True, turn=number) for number in range(9)]
    line += [waiting(f"p{number}", "ann", turn=number) for number in range(9)]

    assert chosen(line, Room(free_rows=8)) == ["u0", "u1", "u2", "p0", "u3", "u4", "u5", "p1"]


def test_claims_made_before_count_towards_the_share_of_the_tier() -> None:
    line = [waiting("u", "bob", unlimited=True), waiting("p", "ann")]

    assert chosen(line, Room(free_rows=1), recent=(True,) * TIER_SHARE) == ["p"]
    assert chosen(line, Room(free_rows=1), recent=(True, True, False, True)) == ["u"]


def test_the_unlimited_tier_takes_everything_when_nobody_else_waits() -> None:
    line = [waiting(f"u{number}", "bob", unlimited=True, turn=number) for number in range(6)]

    assert len(chosen(line, Room(free_rows=6), recent=(True,) * 8)) == 6


def test_only_one_size_is_taken_at_a_time() -> None:
    line = [waiting("a", turn=0), waiting("b", turn=1, size_px=LARGE), waiting("c", turn=2)]

    assert chosen(line, Room(free_rows=3)) == ["a", "c"]


def test_a_dry_engine_takes_the_size_of_the_first_in_line() -> None:
    line = [waiting("a", turn=1), waiting("b", turn=0, size_px=LARGE)]

    assert chosen(line, Room(free_rows=2)) == ["b"]


def test_others_of_the_running_size_pass_the_first_in_line_while_it_is_patient() -> None:
    patient = PATIENCE.total_seconds() - 1
    line = [waiting("large", "ann", size_px=LARGE, waited_s=patient), waiting("small", "bob", turn=1)]

    assert chosen(line, Room(free_rows=1, size_px=SMALL)) == ["small"]


def test_nobody_passes_the_first_in_line_once_its_patience_is_over() -> None:
    line = [
        waiting("large", "ann", size_px=LARGE, waited_s=PATIENCE.total_seconds()),
        waiting("small", "bob", turn=1),
    ]

    assert chosen(line, Room(free_rows=1, size_px=SMALL)) == []
    assert chosen(line, Room(free_rows=1)) == ["large"]


def test_an_impatient_one_that_is_not_first_in_line_stops_nobody() -> None:
    line = [waiting("small", "ann"), waiting("large", "bob", turn=1, size_px=LARGE, waited_s=300)]

    assert chosen(line, Room(free_rows=1, size_px=SMALL)) == ["small"]


def test_a_suspect_is_drawn_alone() -> None:
    line = [waiting("suspect", "ann", suspect=True), waiting("innocent", "bob", turn=1)]

    assert chosen(line, Room(free_rows=4)) == ["suspect"]


def test_a_suspect_never_joins_a_running_engine() -> None:
    line = [waiting("suspect", "ann", suspect=True), waiting("innocent", "bob", turn=1)]

    assert chosen(line, Room(free_rows=4, size_px=SMALL)) == ["innocent"]


def test_a_suspect_whose_patience_is_over_lets_the_engine_run_dry() -> None:
    line = [waiting("suspect", "ann", suspect=True, waited_s=31), waiting("innocent", "bob", turn=1)]

    assert chosen(line, Room(free_rows=4, size_px=SMALL)) == []


def test_nothing_joins_an_engine_that_draws_a_suspect() -> None:
    assert chosen([waiting("a")], Room(free_rows=4, size_px=SMALL, holds_suspect=True)) == []


def test_a_suspect_further_back_is_left_out_of_the_batch() -> None:
    line = [waiting("a", turn=0), waiting("suspect", turn=1, suspect=True), waiting("c", turn=2)]

    assert chosen(line, Room(free_rows=3)) == ["a", "c"]


def test_the_rule_needs_neither_torch_nor_sql_nor_redis() -> None:
    probe = "import sys, posegen.queueing; print([m for m in ('torch','sqlalchemy','redis','rq') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_another_set_of_loras_waits_as_another_size_does() -> None:
    film = (Lora(name="film", strength=0.5),)
    line = [waiting("a"), waiting("b", loras=film), waiting("c", loras=(Lora(name="film", strength=0.6),))]

    assert chosen(line, Room(free_rows=4)) == ["a"]
    assert chosen(line, Room(free_rows=4, size_px=SMALL, loras=film)) == ["b"]
    late = [waiting("a", waited_s=PATIENCE.total_seconds() + 1), waiting("b", loras=film)]
    assert chosen(late, Room(free_rows=4, size_px=SMALL, loras=film)) == []

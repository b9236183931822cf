"""Which cards get a worker: CUDA_VISIBLE_DEVICES is read as CUDA reads it."""

import pytest

from posegen.cards import Card, choose

INSTALLED = [Card(device=f"cuda:{index}", name=f"Card {index}", uuid=f"GPU-{index}abc") for index in range(3)]


@pytest.mark.parametrize(
    ("visible_devices", "expected"),
    [
        (None, ["Card 0", "Card 1", "Card 2"]),
        ("", []),
        ("-1", []),
        ("1", ["Card 1"]),
        ("2, 0", ["Card 2", "Card 0"]),
        ("0,7,1", ["Card 0"]),
        ("GPU-1,GPU-0abc", ["Card 1", "Card 0"]),
        ("MIG-1234", ["Card 0 slice"]),
    ],
)
def test_the_visible_cards_are_chosen(visible_devices: str | None, expected: list[str]) -> None:
    assert [card.name for card in choose(INSTALLED, visible_devices)] == expected


def test_chosen_cards_are_renumbered_as_a_worker_sees_them() -> None:
    assert [card.device for card in choose(INSTALLED, "2,0")] == ["cuda:0", "cuda:1"]


def test_a_machine_without_cards_has_none_to_choose() -> None:
    assert choose([], "0,MIG-1,GPU-2") == []

"""What a caption says of a picture, as the text encoders are taught to read it."""

from dataclasses import replace
from random import Random

import pytest
import torch
from mannequin_flow import Words
from mannequin_looks import ACTIONS, CLOTHES, Look, caption, random_look
from mannequin_networks import build_clip, build_t5, build_tokenizers
from mannequin_training import Run
from mannequin_words import ANSWERS, Readouts, WordsLoss, answers


def look(**changes: object) -> Look:
    plain = {
        "person": "woman",
        "top": "shirt",
        "top_name": "red",
        "bottom": "jeans",
        "bottom_name": "blue",
        "ground_name": "green",
        "hair_name": "brown",
        "skin_name": "tan",
        "cut": "long",
    }
    return replace(random_look(Random(1)), **{**plain, **changes})


def told(text: str, family: str = "walking", **changes: object) -> dict[str, str]:
    numbers = answers(text, look(**changes), family)
    return {name: ANSWERS[name][number - 1] for name, number in zip(ANSWERS, numbers, strict=True) if number}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a woman with long brown hair in a red shirt and blue jeans, walking, plain green background",
            {
                "top colour": "red",
                "bottom colour": "blue",
                "ground colour": "green",
                "hair colour": "brown",
                "top": "shirt",
                "bottom": "jeans",
                "cut": "long",
                "person": "woman",
                "action": "walking",
            },
        ),
        ("person, a red shirt", {"top colour": "red", "top": "shirt"}),
        ("female person, on a green background", {"ground colour": "green", "person": "woman"}),
        ("person, green wall and floor, tan skin", {"ground colour": "green", "skin": "tan"}),
        ("person, green studio background", {"ground colour": "green"}),
        ("a person", {}),
    ],
)
def test_what_a_caption_says(text: str, said: dict[str, str]) -> None:
    assert told(text) == said


def test_a_family_whose_words_are_those_of_others_says_no_action() -> None:
    assert told("person, full body", family="anything") == {}
    assert told("person, full body", family="standing") == {"action": "standing"}


def test_a_bald_head_and_a_bun_are_cuts() -> None:
    assert told("a man with a bald head", person="man", cut="bald") == {"person": "man", "cut": "bald"}
    assert told("brown hair in a bun", cut="bun") == {"hair colour": "brown", "cut": "bun"}


def test_nearly_all_captions_say_a_colour_and_every_colour_is_said_of_everything() -> None:
    rng = Random(1)
    found = {name: set() for name in ANSWERS}
    silent = 0
    for _ in range(3000):
        drawn, family = random_look(rng), rng.choice(list(ACTIONS))
        numbers = dict(zip(ANSWERS, answers(caption(rng, drawn, family), drawn, family), strict=True))
        silent += not any(numbers[f"{part} colour"] for part in ("top", "bottom", "ground"))
        for name, number in numbers.items():
            found[name].add(number)
    assert silent == 0
    assert {name: len(numbers) for name, numbers in found.items()} == {
        name: 1 + len(of) for name, of in ANSWERS.items()
    }
    assert len(found["ground colour"]) == 1 + len(CLOTHES)


def test_the_encoders_learn_to_read(tmp_path) -> None:
    torch.manual_seed(1)
    clip_words, t5_words = map(len, build_tokenizers())
    networks = {"text_encoder": build_clip(clip_words), "text_encoder_2": build_t5(t5_words), "readouts": Readouts()}
    loss = WordsLoss(networks, Words(), 1, batch=16)
    run = Run(tmp_path, "words", networks)
    before = loss.read(64)
    losses = [run.advance(loss(step), 2e-3) for step in range(25)]
    after = loss.read(64)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert all(after[name] > before[name] for name in ("clip", "t5"))
    assert torch.equal(loss(3), loss(3))

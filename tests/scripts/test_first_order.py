"""The first order shows what the built-in model can: its words are words of the model's own."""

import re

import first_order
from mannequin_networks import build_tokenizers, vocabulary

from models.profiles import MANNEQUIN
from posegen.poses import read_library
from posegen.prompts import picture_prompt


def test_the_words_of_the_first_order_are_tokens_of_their_own() -> None:
    words = re.findall(r"[a-z-]+", first_order.WORDS)

    assert [word for word in words if word not in vocabulary()] == []


def test_they_come_before_the_pose_and_so_within_what_the_model_reads() -> None:
    _, t5 = build_tokenizers()
    for pose in read_library().poses:
        prompt = picture_prompt(
            attributes=None, words=first_order.WORDS, pose_name=pose.name, pose_description=pose.description
        )
        read = t5.decode(t5(prompt).input_ids[: MANNEQUIN.text_tokens])
        assert first_order.WORDS in read

"""Teaches the mannequin's text encoders to read, before any picture is drawn: what is red here, the shirt or the wall?

FLUX takes its text encoders ready made. Ours are first trained to name what a caption says of every part (or that it
says nothing), CLIP from its pooled vector and T5 from its tokens. The readouts that answer are thrown away; what stays
is that a colour is found where its noun is, which transformer and ControlNet then only have to look up.
"""

import re
from collections.abc import Iterable
from random import Random

import torch
from mannequin_flow import Words, to_the_longest
from mannequin_looks import ACTIONS, BOTTOMS, CLOTHES, CUTS, HAIR, SKIN, TOPS, Look, caption, random_look
from mannequin_networks import CLIP_WIDTH, T5_WIDTH
from mannequin_recipe import WORDS_BATCH
from torch import Tensor, nn
from torch.nn import functional

ANSWERS: dict[str, tuple[str, ...]] = {
    "top colour": tuple(CLOTHES),
    "bottom colour": tuple(CLOTHES),
    "ground colour": tuple(CLOTHES),
    "hair colour": tuple(HAIR),
    "skin": tuple(SKIN),
    "top": TOPS,
    "bottom": BOTTOMS,
    "cut": CUTS,
    "person": ("woman", "man"),
    "action": tuple(family for family in ACTIONS if family != "anything"),  # whose words are those of others
}
"""What is asked of a caption, and the answers; one more answer is that it says nothing of it."""
_GROUND = re.compile(r"(\w+) (?:gradient |studio )?(?:background|wall)\b")


def answers(text: str, look: Look, family: str) -> tuple[int, ...]:
    """Return the number of each answer, in the order of ANSWERS; 0 for what the caption leaves out."""
    ground = _GROUND.search(text)
    said = {
        "top colour": look.top_name if f"{look.top_name} {look.top}" in text else None,
        "bottom colour": look.bottom_name if f"{look.bottom_name} {look.bottom}" in text else None,
        "ground colour": look.ground_name if ground and ground[1] == look.ground_name else None,
        "hair colour": look.hair_name if f"{look.hair_name} hair" in text else None,
        "skin": look.skin_name if f"{look.skin_name} skin" in text else None,
        "top": look.top if f"{look.top_name} {look.top}" in text else None,
        "bottom": look.bottom if f"{look.bottom_name} {look.bottom}" in text else None,
        "cut": look.cut if _says_cut(text, look) else None,
        "person": _person(text, look),
        "action": family if family in ANSWERS["action"] and any(phrase in text for phrase in ACTIONS[family]) else None,
    }
    return tuple(0 if said[name] is None else 1 + of.index(str(said[name])) for name, of in ANSWERS.items())


def _says_cut(text: str, look: Look) -> bool:
    if look.cut == "bald":
        return "bald" in text
    return f"hair in a {look.cut}" in text or f"{look.cut} {look.hair_name} hair" in text


def _person(text: str, look: Look) -> str | None:
    said = {"woman": r"\b(woman|female)\b", "man": r"\b(man|male)\b"}.get(look.person)
    return look.person if said is not None and re.search(said, text) else None


class Readouts(nn.Module):
    """Answers every question from CLIP's pooled vector (b, 64), and from T5's tokens (b, n, 96)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [1 + len(of) for of in ANSWERS.values()]
        self.sizes = sizes
        self.pooled = nn.Linear(CLIP_WIDTH, sum(sizes))
        self.asking = nn.Parameter(torch.randn(len(sizes), T5_WIDTH) * T5_WIDTH**-0.5)
        self.found = nn.ModuleList(nn.Linear(T5_WIDTH, size) for size in sizes)

    def forward(self, pooled: Tensor, tokens: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits of every question, of either encoder."""
        looks = (tokens @ self.asking.T).softmax(dim=1)
        heard = torch.einsum("bnq,bnw->qbw", looks, tokens)
        by_tokens = [head(one) for head, one in zip(self.found, heard, strict=True)]
        return list(self.pooled(pooled).split(self.sizes, dim=1)), by_tokens


class WordsLoss:
    """The loss of one step on captions that are made for it: the cross entropy of all answers of both encoders."""

    def __init__(self, networks: dict[str, nn.Module], words: Words, seed: int, *, batch: int = WORDS_BATCH) -> None:
        self._networks, self._words, self._seed, self._batch = networks, words, seed, batch

    def __call__(self, step: int) -> Tensor:
        """Return the loss of step number `step`."""
        logits, wanted = self._asked(Random(f"words:{self._seed}:{step}"), self._batch)
        losses = [
            functional.cross_entropy(one, wanted[:, question])
            for by_encoder in logits
            for question, one in enumerate(by_encoder)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def read(self, count: int) -> dict[str, float]:
        """Return the share of questions about held-back captions that CLIP and T5 answer rightly."""
        logits, wanted = self._asked(Random(f"held-back:{self._seed}"), count)
        return {
            name: float(torch.stack([one.argmax(1) == wanted[:, i] for i, one in enumerate(answer)]).float().mean())
            for name, answer in zip(("clip", "t5"), logits, strict=True)
        }

    def _asked(self, rng: Random, count: int) -> tuple[Iterable[list[Tensor]], Tensor]:
        texts, wanted = zip(*(_question(rng) for _ in range(count)), strict=True)
        device = next(self._networks["readouts"].parameters()).device
        clip_ids, t5_ids = (ids.to(device) for ids in self._words(texts))
        pooled = self._networks["text_encoder"](to_the_longest(clip_ids)).pooler_output
        tokens = self._networks["text_encoder_2"](t5_ids)[0]
        return self._networks["readouts"](pooled, tokens), torch.tensor(wanted, device=device)


def _question(rng: Random) -> tuple[str, tuple[int, ...]]:
    look, family = random_look(rng), rng.choice(ANSWERS["action"])
    text = caption(rng, look, family)
    return text, answers(text, look, family)

"""Which LoRAs a picture is drawn with: its avatar's own, and the order's beside them or at another strength.

Orders and avatars keep them as `{"name", "strength"}`, in the one order that `models.loras.applied` gives, so that
pictures that may share a forward are told by comparing. The names are files on the workers' machines; the API reads
the same folder to refuse what is not there.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from models.errors import LorasRefused, StrengthRefused
from models.loras import HIGHEST_STRENGTH, MOST_LORAS, Lora, applied, check_loras
from posegen.errors import BadInput, FieldProblem

Loras = tuple[Lora, ...]


def kept_loras(loras: Iterable[Lora]) -> list[dict[str, Any]]:
    """Return LoRAs as rows keep them."""
    return [{"name": lora.name, "strength": lora.strength} for lora in loras]


def read_loras(kept: Iterable[Mapping[str, Any]]) -> Loras:
    """Return the LoRAs of a row."""
    return tuple(Lora(name=lora["name"], strength=lora["strength"]) for lora in kept)


def merged_loras(avatar: Loras, order: Loras) -> Loras:
    """Return what is drawn with: the avatar's, where the order does not name them itself; 0 there leaves one out."""
    named = {lora.name for lora in order}
    return applied([*(lora for lora in avatar if lora.name not in named), *order])


def lora_problems(loras: Loras, known: Collection[str]) -> list[FieldProblem]:
    """Return what is wrong with LoRAs that somebody asks for: names, strengths, and the set as one."""
    problems = []
    for index, lora in enumerate(loras):
        if lora.name not in known:
            there = f"choose one of {', '.join(sorted(known))}" if known else "there are none here"
            message = f"There is no LoRA {lora.name!r}; {there}."
            problems.append(FieldProblem(field=f"loras[{index}].name", message=message))
        if not 0 <= lora.strength <= HIGHEST_STRENGTH:
            message = f"strength is 0 to {HIGHEST_STRENGTH:g}."
            problems.append(FieldProblem(field=f"loras[{index}].strength", message=message))
    try:
        check_loras(loras)
    except StrengthRefused:
        pass  # named above, with its place
    except LorasRefused as error:
        problems.append(FieldProblem(field="loras", message=str(error)))
    return problems


def check_merged(loras: Loras, known: Collection[str]) -> None:
    """Refuse what the avatar's own LoRAs bring in. Raises BadInput."""
    problems = []
    if len(loras) > MOST_LORAS:
        message = f"With the avatar's own there are {len(loras)} LoRAs, at most {MOST_LORAS} go together."
        problems.append(FieldProblem(field="loras", message=message))
    for lora in loras:
        if lora.name not in known:
            message = f"The avatar's LoRA {lora.name!r} is not here any more: change the avatar, or order it at 0."
            problems.append(FieldProblem(field="loras", message=message))
    if problems:
        raise BadInput(" ".join(problem.message for problem in problems), problems)

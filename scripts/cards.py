"""Which CUDA cards a worker would see, asked of the driver: no torch, no CUDA context, nothing held."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One visible card; `device` is what CUDA calls it inside a process that sees what we see."""

    device: str
    name: str
    uuid: str


def visible_cards(environment: Mapping[str, str] = os.environ) -> list[Card]:
    """Return the cards in CUDA's order; none without a driver."""
    return choose(installed_cards(), environment.get("CUDA_VISIBLE_DEVICES"))


def installed_cards() -> list[Card]:
    """Return every card of the machine, by the driver's order."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [
            Card(device=f"cuda:{index}", name=pynvml.nvmlDeviceGetName(handle), uuid=pynvml.nvmlDeviceGetUUID(handle))
            for index, handle in enumerate(handles)
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def choose(installed: Sequence[Card], visible_devices: str | None) -> list[Card]:
    """Apply CUDA_VISIBLE_DEVICES as CUDA does: numbers or UUID beginnings, renumbered, up to the first unknown one.

    A slice of a card (MIG-...) counts as known: the driver lists it under its card.
    """
    if visible_devices is None:
        return list(installed)
    chosen: list[Card] = []
    for wanted in (part.strip() for part in visible_devices.split(",")):
        if wanted.isdigit() and int(wanted) < len(installed):
            found = installed[int(wanted)]
        elif wanted.startswith("MIG-") and installed:
            found = Card(device="", name=f"{installed[0].name} slice", uuid=wanted)
        elif wanted.startswith("GPU-") and (fitting := [card for card in installed if card.uuid.startswith(wanted)]):
            found = fitting[0]
        else:
            break
        chosen.append(Card(device=f"cuda:{len(chosen)}", name=found.name, uuid=found.uuid))
    return chosen

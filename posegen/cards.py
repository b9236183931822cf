"""Which CUDA cards a worker would see, asked of the driver: no torch, no CUDA context, nothing held."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One visible card; `device` is what CUDA calls it inside a process that sees what we see.

    memory_bytes, used_bytes: all of it, and what anybody holds now; None for a slice, which the driver tells otherwise.
    """

    device: str
    name: str
    uuid: str
    memory_bytes: int | None = None
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The NVIDIA driver of this machine. cuda: the newest CUDA that it can run, as (13, 2)."""

    version: str
    cuda: tuple[int, int]


class DriverAway(Exception):
    """The driver cannot be asked; the text says why. `is_installed`: the library that asks it is here."""

    def __init__(self, reason: str, *, is_installed: bool) -> None:
        super().__init__(reason)
        self.is_installed = is_installed


def visible_cards(environment: Mapping[str, str]) -> list[Card]:
    """Return the cards in CUDA's order, as CUDA_VISIBLE_DEVICES leaves them; none without a driver."""
    return choose(installed_cards(), environment.get("CUDA_VISIBLE_DEVICES"))


def installed_cards() -> list[Card]:
    """Return every card of the machine, by the driver's order; none without a driver."""
    try:
        with _driver() as nvml:
            handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            return [_card(nvml, index, handle) for index, handle in enumerate(handles)]
    except DriverAway:
        return []


def driver() -> Driver:
    """Ask the driver for its version. Raises DriverAway."""
    with _driver() as nvml:
        version, cuda = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlSystemGetCudaDriverVersion()
    return Driver(version=str(version), cuda=(cuda // 1000, cuda % 1000 // 10))


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
        chosen.append(replace(found, device=f"cuda:{len(chosen)}"))
    return chosen


@contextmanager
def _driver() -> Iterator[Any]:
    """Yield the driver's library, opened. Raises DriverAway, also for what breaks inside the block."""
    try:
        import pynvml
    except ImportError as error:
        raise DriverAway("nvidia-ml-py is not installed", is_installed=False) from error
    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise DriverAway(str(error), is_installed=True) from error


def _card(nvml: Any, index: int, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(
        device=f"cuda:{index}",
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_bytes=int(memory.total),
        used_bytes=int(memory.used),
    )

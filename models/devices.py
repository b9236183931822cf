"""Which device to draw on, and what its faults mean. The only place that reads torch's errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from models.card_faults import CardFault, fault_in
from models.errors import CardFailed, DeviceMissing
from models.stepping import DoesNotFit


def resolve_device(device: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:N" into a device that exists. Raises DeviceMissing.

    auto is the first CUDA card if there is one, else the CPU.
    """
    cards = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    if device == "auto":
        return torch.device(cards[0] if cards else "cpu")
    wanted = "cuda:0" if device == "cuda" else device
    if wanted != "cpu" and wanted not in cards:
        raise DeviceMissing(device, ("cpu", *cards))
    return torch.device(wanted)


def keep_compiled_in(folder: Path) -> None:
    """Let compiled code outlive the process in a folder; call before anything is compiled.

    torch and triton key it by code, shapes, versions and card, and know no other way to be told where. What an
    operator set in the environment stays; a folder that cannot be written is a fault of compiling, found there.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.absolute()))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder.absolute() / "triton"))


def device_title(device: torch.device) -> str:
    """Name a device for people: the card's product name, or CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def uploaded(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a host's tensor on the device; nobody waits for the copy."""
    if device.type != "cuda":
        return tensor
    # Pinned memory: the copy goes along while the previous step still computes.
    return tensor.pin_memory().to(device, non_blocking=True)


# What the libraries say beside torch.OutOfMemoryError: the host's allocator, CUDA's own calls (pinned memory, streams),
# and the handles that cuBLAS and cuDNN make on first use.
_FULL = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def tells_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is for lack of memory."""
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def faults_named(device: torch.device) -> Iterator[None]:
    """Turn torch's errors into ours: lack of memory into DoesNotFit, a broken card into CardFailed."""
    try:
        yield
    except MemoryError as e:
        reason = str(e)
        e.__traceback__ = None
    except RuntimeError as e:  # torch's OutOfMemoryError and AcceleratorError are among these
        if not _is_full(e):
            if isinstance(e, torch.AcceleratorError) or fault_in(str(e)) is not None:
                raise failed_card(device, e) from e
            raise
        # The traceback holds every tensor of the failed forward: cut it before asking for the memory back.
        reason = str(e)
        e.__traceback__ = None
    else:
        return
    if device.type == "cuda":
        with broken_card_named(device):  # "out of memory" is also what some calls say on a card that is gone
            torch.cuda.empty_cache()
    raise DoesNotFit(reason)


@contextmanager
def broken_card_named(device: torch.device) -> Iterator[None]:
    """Turn any error of torch's into CardFailed: for calls that ask nothing new of a card."""
    try:
        yield
    except RuntimeError as e:
        raise failed_card(device, e) from e


def failed_card(device: torch.device, error: RuntimeError) -> CardFailed:
    """Return the CardFailed that an error of torch's, or of a library under it, stands for."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return CardFailed(str(device), reason, by_itself=fault_in(str(error)) is CardFault.BY_ITSELF)


def _is_full(error: RuntimeError) -> bool:
    if fault_in(str(error)) is not None:
        return False
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _FULL)


class Pace:
    """Keeps the host at most one step ahead of the card, without ever waiting for the step just launched.

    Without it the host would queue a picture's whole schedule, and newcomers and cancellations would wait for it.
    On the CPU it does nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: torch.cuda.Event | None = None

    def launched(self) -> None:
        """Call after launching a step: waits for the step before it."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        if self._before is not None:
            self._before.synchronize()
        self._before = event


class CopyEnd:
    """The end of everything launched on a card so far, copies to pinned memory included; an Arrival."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(device))

    def done(self) -> bool:
        """Whether the card is past it; returns at once. Raises CardFailed."""
        with broken_card_named(self._device):
            return bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Return when the card is past it. Raises CardFailed."""
        with broken_card_named(self._device):
            self._event.synchronize()

"""What the libraries say when a card is broken, read off their words: torch, CUDA, cuBLAS, cuDNN and Triton.

Most of these spoil the process's context on the card: whatever it is asked next fails too, and only another process
can go on. Faults that no work can have caused are told apart, so that nobody's picture is blamed for a dying card.
"""

from enum import StrEnum


class CardFault(StrEnum):
    """Whose doing a fault of a card may be."""

    UNDER_WORK = "under_work"  # what was being computed may have caused it, or a bug, or the card
    BY_ITSELF = "by_itself"  # memory, links or the card itself: nothing that was computed can have caused it


_BY_ITSELF = (
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "busy or unavailable",
    "no cuda-capable device",
    "system not yet initialized",
    "driver shutting down",
    "device lost",
    "device is lost",
    "gpu is lost",
    "fallen off the bus",
)
_UNDER_WORK = (
    "illegal memory access",
    "illegal instruction",
    "invalid program counter",
    "misaligned address",
    "unspecified launch failure",
    "device-side assert",
    "hardware stack error",
    "operation not supported on global/shared address space",
    "launch timed out",
    "cuda error: unknown error",
    "cuda driver error: unknown error",
    "triton error [cuda]: unknown error",
    *(
        f"{library}_status_{status}"
        for library in ("cublas", "cudnn", "cusolver", "cusparse")
        for status in ("execution_failed", "internal_error", "mapping_error", "not_initialized")
    ),
    "status_arch_mismatch",
)


def fault_in(words: str) -> CardFault | None:
    """Say what an error's text tells of a card; None when it tells of no broken one."""
    folded = words.lower()
    if any(phrase in folded for phrase in _BY_ITSELF):
        return CardFault.BY_ITSELF
    return CardFault.UNDER_WORK if any(phrase in folded for phrase in _UNDER_WORK) else None


def fault_of(error: BaseException) -> CardFault | None:
    """The same for an error, or for what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        fault = fault_in(str(seen))
        if fault is not None:
            return fault
        seen = seen.__cause__
    return None

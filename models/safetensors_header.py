"""What a safetensors file says of itself: names, types and shapes, read from its first bytes, without torch.

A file that was cut off is found here, in milliseconds: the header tells where the last tensor ends. The layout is that
of https://github.com/huggingface/safetensors: eight bytes of header length, the header as JSON, the tensors.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST_HEADER_BYTES = 100_000_000  # the format's own bound
_LFS_POINTER = b"version https://git-lfs"
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


class DamagedFile(Exception):
    """A file that is no whole safetensors file; `str()` says why.

    No ModelsError, because only whoever asked knows whether it is a checkpoint or an adapter that is damaged.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a file. dtype: the format's own name, such as BF16."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return what the file holds, by name. Raises DamagedFile, also for a file that ends before its tensors do."""
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise DamagedFile(f"it ends after {size_bytes} bytes")
            if (start + file.read(len(_LFS_POINTER) - 8)) == _LFS_POINTER:
                raise DamagedFile("it is only Git LFS's pointer to the file")
            file.seek(8)
            length = int.from_bytes(start, "little")
            if length > min(_LONGEST_HEADER_BYTES, size_bytes - 8):
                raise DamagedFile(f"it ends inside its header, after {size_bytes} bytes, or is no safetensors file")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise DamagedFile("it is not there") from None
    except OSError as e:
        raise DamagedFile(f"it cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise DamagedFile("its header is not JSON") from e
    try:
        return _entries(header, size_bytes - 8 - length)
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise DamagedFile("its header is not that of a safetensors file") from e


def _entries(header: Mapping[str, Any], tensor_bytes: int) -> dict[str, TensorEntry]:
    entries, end = {}, 0
    for name, told in header.items():
        if name == "__metadata__":
            continue
        shape = tuple(int(side) for side in told["shape"])
        first, last = told["data_offsets"]
        if told["dtype"] in _BYTES and last - first != math.prod(shape) * _BYTES[told["dtype"]]:
            raise DamagedFile(f"{name} has {last - first} bytes, which is not what its shape takes")
        entries[name] = TensorEntry(dtype=told["dtype"], shape=shape)
        end = max(end, last)
    if end != tensor_bytes:
        raise DamagedFile(f"it has {tensor_bytes} bytes of tensors where its header says {end}")
    return entries

"""What the tables of this package say of one operation, beyond what its route's types say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Operations = Mapping[str, "Operation"]
"""By method and path, as in `GET /api/apps`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    id: its name in generated clients, never changed again. requests: examples of its body, by a short name. answer: an
    example of its JSON answer, None where it has none. refuses: errors that it can make beside those that its shape
    implies (no login, bad fields, too large a body, the database away). headers: those its good answer carries.
    """

    id: str
    requests: Mapping[str, Any] | None = None
    answer: Any = None
    refuses: Sequence[Exception] = ()
    headers: Sequence[str] = ()
    reads_database: bool = True

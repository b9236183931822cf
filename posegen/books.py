"""The books: proof that money, pictures and quota agree, read from one moment of the database while orders go on.

Nothing here writes: what disagrees is named with its figures, and a person decides. (Healing what dead workers left
behind is posegen.recovery; the word "reconcile" of the command means the books.)
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from posegen.database import Database
from posegen.promises import checks
from posegen.row_checks import Disagreement
from posegen.tables import GeneratedPicture, Generation, LedgerEntry, User, WorkItem

WORK_MEMORY_MB = 128
"""PostgreSQL's own 4 MB would sort a million rows on its disk."""
_COUNTED = {
    "users": User,
    "entries": LedgerEntry,
    "generations": Generation,
    "items": WorkItem,
    "pictures": GeneratedPicture,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """How many rows of each kind were read, and everything in them that disagrees."""

    rows: dict[str, int]
    disagreements: tuple[Disagreement, ...]

    @property
    def agree(self) -> bool:
        """Tell whether nothing disagrees."""
        return not self.disagreements


def read_books(database: Database) -> Books:
    """Run every check on one moment of the database. Raises DatabaseAway."""
    with database.snapshot() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL work_mem = '{WORK_MEMORY_MB}MB'")
        rows = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in _COUNTED.items()
        }
        return Books(rows=rows, disagreements=disagreements(connection))


def disagreements(connection: Connection) -> tuple[Disagreement, ...]:
    """Run every check in the caller's transaction, which sees one moment of the database."""
    return tuple(one for check in checks() for one in check.disagreements(connection))

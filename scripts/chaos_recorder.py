"""SQL triggers that write down what happened to the rows that promises are about, in the transaction in which it did.

The service knows nothing of them. They see what polling would miss: each move of a picture with its attempt and worker,
and every change of what may never change (ledger entries, delivered pictures, their files, told events).
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from posegen.database import Database

FROZEN = {
    "ledger_entries": ("amount_credits", "type", "reference", "part", "user_id"),
    "generated_pictures": ("output_key", "thumbnail_key", "status", "work_item_id", "variation_key"),
    "stored_objects": ("key", "size_bytes"),
    "events": ("event_id", "type", "payload"),
}
"""Columns that nobody may change once written, and tables nobody may delete from during a run (events live a day)."""

_MOVED = "OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt"
_MOVE = (
    "INSERT INTO chaos_moves (at, item_id, from_status, to_status, from_attempt, to_attempt, from_worker, to_worker) "
    "VALUES ({now}, NEW.id, OLD.status, NEW.status, OLD.attempt, NEW.attempt, OLD.worker, NEW.worker);"
)
_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_POSTGRES_NOW = "extract(epoch FROM clock_timestamp())"


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a picture's status or attempt, dated by the database's clock (unix seconds)."""

    at: float
    item_id: str
    from_status: str
    to_status: str
    from_attempt: int
    to_attempt: int
    from_worker: str | None
    to_worker: str | None


def install(database: Database) -> None:
    """Make the tables and triggers, in a database that has the service's tables."""
    number = "SERIAL PRIMARY KEY" if database.dialect == "postgresql" else "INTEGER PRIMARY KEY AUTOINCREMENT"
    real = "DOUBLE PRECISION" if database.dialect == "postgresql" else "REAL"
    with database.writing() as session:
        session.execute(
            text(
                f"CREATE TABLE chaos_moves (number {number}, at {real}, item_id TEXT, from_status TEXT, "
                "to_status TEXT, from_attempt INTEGER, to_attempt INTEGER, from_worker TEXT, to_worker TEXT)"
            )
        )
        session.execute(text(f"CREATE TABLE chaos_changes (number {number}, what TEXT, row_id TEXT)"))
        make = _postgres_triggers if database.dialect == "postgresql" else _sqlite_triggers
        for statement in make():
            session.connection().exec_driver_sql(statement)


def moves(session: Session) -> list[Move]:
    """Return every move of every picture, in the order in which they were made."""
    rows = session.execute(
        text(
            "SELECT at, item_id, from_status, to_status, from_attempt, to_attempt, from_worker, to_worker "
            "FROM chaos_moves ORDER BY number"
        )
    )
    return [Move(*row) for row in rows]


def changes(session: Session) -> list[str]:
    """Return what was changed or deleted though it never may be."""
    return [f"{what} {row_id}" for what, row_id in session.execute(text("SELECT what, row_id FROM chaos_changes"))]


def _row_id(table: str, row: str) -> str:
    names = {"stored_objects": "{row}.key", "events": "{row}.user_id || ':' || {row}.event_id"}
    return names.get(table, "{row}.id").format(row=row)


def _sqlite_triggers() -> list[str]:
    made = [
        f"CREATE TRIGGER chaos_item_moves AFTER UPDATE ON work_items WHEN {_MOVED} "
        f"BEGIN {_MOVE.format(now=_SQLITE_NOW)} END",
        "CREATE TRIGGER chaos_item_gone AFTER DELETE ON work_items BEGIN "
        "INSERT INTO chaos_changes (what, row_id) VALUES ('work_items deleted', OLD.id); END",
    ]
    for table, columns in FROZEN.items():
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        made += [
            f"CREATE TRIGGER chaos_{table}_changed AFTER UPDATE ON {table} WHEN {differs} BEGIN "
            f"INSERT INTO chaos_changes (what, row_id) VALUES ('{table} changed', {_row_id(table, 'OLD')}); END",
            f"CREATE TRIGGER chaos_{table}_gone AFTER DELETE ON {table} BEGIN "
            f"INSERT INTO chaos_changes (what, row_id) VALUES ('{table} deleted', {_row_id(table, 'OLD')}); END",
        ]
    return made


def _postgres_triggers() -> list[str]:
    made = [
        "CREATE FUNCTION chaos_item_moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_MOVE.format(now=_POSTGRES_NOW)} RETURN NULL; END $$",
        f"CREATE TRIGGER chaos_item_moves AFTER UPDATE ON work_items FOR EACH ROW WHEN ({_MOVED}) "
        "EXECUTE FUNCTION chaos_item_moves()",
    ]
    watched = [("work_items", "gone", "DELETE", "")]
    for table, columns in FROZEN.items():
        # Compared as text: json columns have no equality of their own.
        differs = " OR ".join(f"OLD.{column}::text IS DISTINCT FROM NEW.{column}::text" for column in columns)
        watched += [(table, "changed", "UPDATE", f"WHEN ({differs})"), (table, "gone", "DELETE", "")]
    for table, name, event, when in watched:
        done = "deleted" if event == "DELETE" else "changed"
        made += [
            f"CREATE FUNCTION chaos_{table}_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"INSERT INTO chaos_changes (what, row_id) VALUES ('{table} {done}', {_row_id(table, 'OLD')}); "
            "RETURN NULL; END $$",
            f"CREATE TRIGGER chaos_{table}_{name} AFTER {event} ON {table} FOR EACH ROW {when} "
            f"EXECUTE FUNCTION chaos_{table}_{name}()",
        ]
    return made

"""Alembic's entry: runs the versions on the connection that `posegen.migrating` hands over."""

from typing import Any, Literal

from alembic import context

from posegen.tables import Row, UtcDateTime


def render_plainly(type_: str, column_type: Any, _context: object) -> str | Literal[False]:
    """Write our time type as what it is in SQL, so that a version never depends on today's code."""
    return "sa.DateTime(timezone=True)" if type_ == "type" and isinstance(column_type, UtcDateTime) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render_plainly,
)
with context.begin_transaction():
    context.run_migrations()

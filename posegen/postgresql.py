"""PostgreSQL through psycopg, so that no call waits for ever and no error shows a row.

Three limits, since each part may be the one that stopped: the server ends a statement that takes too long and a
transaction whose client fell silent; the client closes a connection on which the server fell silent (a frozen host
still acknowledges every packet, so TCP's own limits never strike). Imported only where PostgreSQL is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event

CONNECT_TIMEOUT_S = 3
"""How long PostgreSQL may take to accept a connection before it counts as away."""
STATEMENT_S = 10.0
"""So long a statement may run, and wait for a lock; then the server cancels it."""
IDLE_TRANSACTION_S = 30.0
"""A client that is silent in the middle of a transaction (frozen, or its host gone) keeps its locks no longer."""
ANSWER_S = 15.0
"""A server that has not answered by now, not even with the statement's end, counts as away."""
_NOTICE_SILENCE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 11_000}
"""A host that vanished without a word is noticed in about 11 s, not after a quarter of an hour."""

Answer = TypeVar("Answer")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which every call ends within `answer_s`: with an answer, or closed. None waits for ever."""

    answer_s: float | None = ANSWER_S

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """Run one exchange with the server. Everything that blocks comes through here."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()  # what was asked may still be answered: this connection is good for nothing more
            raise psycopg.OperationalError(f"the server was silent for {self.answer_s:g} s") from error


def postgresql_engine(url: URL, *, pool_size: int, max_overflow: int) -> Engine:
    """Return an engine whose connections have the limits above; `options` in the URL are kept and win."""
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    limits = {
        "statement_timeout": STATEMENT_S,
        "lock_timeout": STATEMENT_S,
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_S,
    }
    options = [f"-c {name}={int(1000 * limit_s)}" for name, limit_s in limits.items()]
    options += [str(url.query["options"])] if "options" in url.query else []
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_pre_ping=True,
        pool_timeout=5,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": " ".join(options), **_NOTICE_SILENCE},
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **named)
        connection.answer_s = ANSWER_S
        return connection

    event.listen(engine, "handle_error", _hide_row)
    return engine


@contextmanager
def begin_without_limits(connection: Connection) -> Iterator[None]:
    """Run one transaction whose statements, and whose commit, take as long as they take."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, BoundedConnection):
        raise TypeError(f"{type(driver).__name__} is no connection of postgresql_engine")
    driver.answer_s = None
    try:
        with connection.begin():
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {name} = 0")
            yield
    finally:
        driver.answer_s = ANSWER_S


def _hide_row(context: ExceptionContext) -> None:
    """Cut the row out of an error's words: PostgreSQL quotes the whole of it, and errors are logged."""
    error = context.original_exception
    row = error.diag.message_detail if isinstance(error, psycopg.Error) else None
    if not row:
        return
    for told in (error, context.sqlalchemy_exception):
        if told is not None:
            told.args = tuple(part.replace(row, "(not shown)") if isinstance(part, str) else part for part in told.args)

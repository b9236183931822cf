"""A real PostgreSQL of our own, for tests and for breaking; it ends with the thread that made it, however that ends.

PostgreSQL refuses to run as root, so root runs it as another user (`postgres` where there is one, else `nobody`).
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

from posegen.child_processes import last_lines, start_child
from posegen.ports import free_port

_START_TRIES = 3
_POLL_S = 0.02
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_INITDB_OPTIONS = ("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")


class PostgresNotStarted(Exception):
    """There is no PostgreSQL here, or it did not start; the text says what to do or shows its log."""


class PostgresServer:
    """A throw-away PostgreSQL on 127.0.0.1; `stop` and `start` keep its port and data.

    Unless it is `durable`, what it committed last may be lost when it is killed, and every commit is much cheaper.
    """

    def __init__(self, *, durable: bool = False) -> None:
        """Make an empty cluster (about a second). Raises PostgresNotStarted."""
        self.programs = find_postgres()
        self._user = _unprivileged_user()
        self._careless = {} if durable else _CARELESS
        # Not below pytest's own folders: those are closed to every other user.
        self.folder = Path(tempfile.mkdtemp(prefix="posegen-postgres-"))
        self.log_file = self.folder / "postgres.log"
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        initdb = start_child(
            [self.programs / "initdb", "-D", self.folder / "cluster", "-U", "posegen", *_INITDB_OPTIONS],
            log_file=self.folder / "initdb.log",
            user=self._user,
        )
        if initdb.wait(60) != 0:
            raise PostgresNotStarted("initdb failed:\n" + last_lines(self.folder / "initdb.log"))

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://posegen@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Tell whether it runs."""
        return self._child is not None and self._child.poll() is None

    def start(self, *, timeout_s: float = 30.0) -> None:
        """Start it and return when it answers. Does nothing when it runs."""
        for _ in range(_START_TRIES):  # a free port may be taken before the server has it
            if self.running:
                return
            self.port = free_port([self.port] if self.port else [])
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": self.port,
                "unix_socket_directories": "",
                "max_connections": "300",
                "shared_buffers": "32MB",
                **self._careless,
            }
            argv = [str(self.programs / "postgres"), "-D", str(self.folder / "cluster")]
            for name, value in settings.items():
                argv += ["-c", f"{name}={value}"]
            self._child = start_child(argv, log_file=self.log_file, user=self._user, death_signal=signal.SIGQUIT)
            deadline = time.monotonic() + timeout_s
            while self.running and not self._answers():
                if time.monotonic() > deadline:
                    raise PostgresNotStarted(f"PostgreSQL did not answer in {timeout_s:g} s:\n{self._log_end()}")
                time.sleep(_POLL_S)
        if not self.running:
            raise PostgresNotStarted("PostgreSQL did not start:\n" + self._log_end())

    def stop(self) -> None:
        """Stop it at once, as an outage would: every connection breaks, the data stay."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Crash it: no clean shutdown, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """Stop every process of it where it stands, as a stalled disk would: the kernel still takes what is sent."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """Let a frozen one go on. Does nothing to one that runs."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def remove(self) -> None:
        """Stop it and delete its data."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Copy `template` into a fresh database and return its name."""
        name = name or f"t{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database, also while somebody is connected to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement.encode())

    @property
    def _dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=posegen dbname=postgres"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _log_end(self) -> str:
        return last_lines(self.log_file)

    def _processes(self) -> list[psutil.Process]:
        if self._child is None:
            return []
        postmaster = psutil.Process(self._child.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _end(self, number: signal.Signals) -> None:
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(number)
        self._child.wait(30)
        self._child = None


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs: the PATH's, else the newest under /usr/lib/postgresql."""
    on_path = [Path(found).parent for name in ("initdb", "postgres") if (found := shutil.which(name))]
    if len(on_path) == 2 and on_path[0].resolve() == on_path[1].resolve():
        return on_path[0]
    installed = sorted(
        (initdb.parent for initdb in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: [int(part) for part in folder.parent.name.split(".") if part.isdigit()],
    )
    if installed:
        return installed[-1]
    raise PostgresNotStarted("This needs a PostgreSQL server: sudo apt-get install postgresql")


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {account.pw_name for account in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    raise PostgresNotStarted("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")

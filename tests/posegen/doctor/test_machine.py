"""The port of the API, the disk, and an address that is not ours."""

import socketserver
import threading
from pathlib import Path

import pytest
from support.examined import FAIL, OK, WARN, findings_of, said, subject_of
from support.serving import serving, settings_for

from posegen.doctor.findings import Told, Verdict
from posegen.doctor.machine import check_disk, check_limits, check_port, check_python, tell_room
from posegen.ports import free_port


class Nonsense(socketserver.StreamRequestHandler):
    """Answers like no web server does."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"-ERR what?\r\n")


def test_a_free_port_is_well(tmp_path: Path) -> None:
    found = findings_of(check_port, subject_of(tmp_path, host="127.0.0.1", port=free_port()))

    assert "is free" in said(found, OK)


def test_a_port_that_somebody_else_has_is_told(tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = findings_of(check_port, subject_of(tmp_path, host="127.0.0.1", port=server.server_address[1]))
        server.shutdown()

    assert "no Posegen answers there" in said(found, FAIL)


def test_our_own_api_on_the_port_is_well_and_its_health_told(tmp_path: Path, sqlite_url: str) -> None:
    with serving(settings_for(sqlite_url, tmp_path)) as served:
        port = int(served.url.rsplit(":", 1)[1])
        found = findings_of(check_port, subject_of(tmp_path, host="127.0.0.1", port=port))

    assert "a Posegen answers" in said(found, OK)
    assert "degraded" in said(found, OK)


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    found = findings_of(check_port, subject_of(tmp_path, host="203.0.113.7"))

    assert "203.0.113.7 is no address of this machine" in said(found, FAIL)


@pytest.mark.parametrize(("free_bytes", "verdict"), [(5 * 10**8, FAIL), (5 * 10**9, WARN), (10**11, OK)])
def test_a_disk_that_fills_up_is_told(free_bytes: int, verdict: Verdict) -> None:
    assert tell_room(free_bytes, Path("/somewhere"), Told("disk")).verdict is verdict


def test_the_disk_of_a_var_dir_that_is_not_made_yet_is_the_one_it_will_lie_on(tmp_path: Path) -> None:
    (found,) = findings_of(check_disk, subject_of(tmp_path))

    assert f"({tmp_path})" in found.says
    assert not (tmp_path / "var").exists()


def test_this_python_and_this_machine_are_looked_at(tmp_path: Path) -> None:
    assert "Python 3." in said(findings_of(check_python, subject_of(tmp_path)), OK)
    assert "GB of memory" in "".join(finding.says for finding in findings_of(check_limits, subject_of(tmp_path)))

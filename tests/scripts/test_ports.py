"""Choosing a port: the wanted one, else the next free one."""

import socket

from posegen.ports import free_port, is_free


def listening() -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_the_wanted_port_is_taken_when_it_is_free() -> None:
    with listening() as server:
        port = server.getsockname()[1]

    assert free_port([port]) == port


def test_a_busy_port_is_passed_over_for_the_next_one() -> None:
    with listening() as server:
        busy = server.getsockname()[1]
        chosen = free_port([busy, busy + 1, busy + 2])

    assert chosen != busy


def test_a_listener_on_the_loopback_makes_the_port_busy_for_every_address() -> None:
    with listening() as server:
        assert not is_free(server.getsockname()[1], "0.0.0.0")


def test_connections_of_a_server_that_just_ended_do_not_make_its_port_busy() -> None:
    server = listening()
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = server.accept()
        accepted.close()  # this side closes first, so its end stays in TIME_WAIT
        server.close()

    assert is_free(port)

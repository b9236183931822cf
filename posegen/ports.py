"""Which TCP ports are free here. A free port may be taken a moment later: whoever binds it must still cope."""

import socket
from collections.abc import Iterable


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on `port` now (connections of a server that just ended do not count)."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(wanted: Iterable[int] = (), host: str = "127.0.0.1") -> int:
    """Return the first free port of `wanted`, else one that the kernel picks. OSError: the host is not ours."""
    for port in wanted:
        if is_free(port, host):
            return port
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        picked: int = probe.getsockname()[1]
        return picked


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_this_machine(host: str) -> bool:
    """Tell whether a name means the machine itself, by its loopback; other names of ours count as elsewhere."""
    return host == "localhost" or host == "::1" or host.startswith("127.")

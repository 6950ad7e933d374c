"""Where a service listens: it has its place before anything else is begun, or ends with a line that says why it has none."""

import contextlib
import os
import socket
from collections.abc import Iterator

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel may allow fewer."""


class CannotListen(SystemExit):
    """An address that cannot be listened on; as an exit it prints one line, and no traceback."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        # That of a name that is not known has a number that is none of the system's.
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
        super().__init__(f"cannot listen on {host}:{port}: {why}")


@contextlib.contextmanager
def beginning_to_listen(host: str, port: int) -> Iterator[None]:
    """The body is what begins to listen there.

    Raises:
        CannotListen: in place of the body's OSError.
    """
    try:
        yield
    except OSError as error:
        raise CannotListen(host, port, error) from None


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on each address of the host, for a server to accept from.

    Raises:
        CannotListen: another process does, or it is no address of this machine.
    """
    with beginning_to_listen(host, port), contextlib.ExitStack() as opened:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        sockets = [
            opened.enter_context(socket.create_server(address, family=family, backlog=BACKLOG))
            for family, address in addresses
        ]
        opened.pop_all()
        return sockets

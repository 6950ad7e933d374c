"""A service has its place before it serves, and says in a line why it has none."""

import asyncio
import socket

import pytest

from shared.listening import CannotListen, beginning_to_listen, listen


async def test_what_listens_takes_connections_before_a_server_accepts_them() -> None:
    [taken] = listen("127.0.0.1", 0)
    with taken:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*taken.getsockname()), 5)
        writer.close()


def test_a_port_that_another_listens_on_is_named_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            listen("127.0.0.1", port)
    assert caught.value.code == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_so_is_a_host_that_is_not_this_machine() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:8000: Cannot assign requested address"):
        listen("192.0.2.1", 8000)


def test_so_is_one_that_nobody_knows() -> None:
    with (
        pytest.raises(CannotListen, match="cannot listen on nowhere:8000: Name or service not known"),
        beginning_to_listen("nowhere", 8000),
    ):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_only_what_keeps_it_from_listening_is_told_so() -> None:
    with pytest.raises(ValueError, match="something else"), beginning_to_listen("127.0.0.1", 8000):
        raise ValueError("something else")

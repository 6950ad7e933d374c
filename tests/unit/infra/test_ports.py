import socket
from collections.abc import Iterator

import pytest

from infra.native.ports import HOST, Ports, check_free, free_ports
from shared.settings import InvalidSettings, load


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_ports_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNERGY_PRISM_PORT", "18000")
    assert load(Ports).prism_port == 18000


def test_a_port_that_is_no_port_is_refused_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNERGY_REDIS_PORT", "70000")
    with pytest.raises(InvalidSettings) as refused:
        load(Ports)
    assert "SYNERGY_REDIS_PORT" in refused.value.problems


def test_a_port_in_use_is_refused_by_its_key(taken_port: int) -> None:
    with pytest.raises(InvalidSettings) as refused:
        check_free(free_ports().model_copy(update={"nats_port": taken_port}))
    assert refused.value.problems.keys() == {"SYNERGY_NATS_PORT"}
    assert str(taken_port) in refused.value.problems["SYNERGY_NATS_PORT"]


def test_two_servers_on_one_port_are_refused() -> None:
    ports = free_ports()
    with pytest.raises(InvalidSettings) as refused:
        check_free(ports.model_copy(update={"redis_port": ports.prism_port}))
    assert refused.value.problems.keys() == {"SYNERGY_REDIS_PORT"}


def test_free_ports_are_free_and_all_different() -> None:
    ports = free_ports()
    check_free(ports)
    assert len(set(ports.by_key.values())) == len(Ports.model_fields)

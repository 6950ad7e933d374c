"""Where the native system listens: one loopback port a server, from the environment or free ones, checked before a start."""

import random
import socket
from collections.abc import Collection, Mapping

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import InvalidSettings, Settings

HOST = "127.0.0.1"

FREE_PORT_RANGE = range(20_000, 32_000)
"""Below the ports that systems hand to outgoing connections, one of which could take a free port before its server does."""


class Ports(Settings):
    """Keys `SYNERGY_…_PORT`."""

    model_config = SettingsConfigDict(env_prefix="SYNERGY_", frozen=True, extra="ignore", env_ignore_empty=True)

    prism_port: int = Field(default=8000, ge=1, le=65535)
    engine_large_port: int = Field(default=8001, ge=1, le=65535)
    engine_small_port: int = Field(default=8002, ge=1, le=65535)
    lens_large_port: int = Field(default=8010, ge=1, le=65535)
    lens_small_port: int = Field(default=8011, ge=1, le=65535)
    forecaster_port: int = Field(default=8030, ge=1, le=65535)
    nats_port: int = Field(default=4222, ge=1, le=65535)
    redis_port: int = Field(default=6379, ge=1, le=65535)

    @property
    def by_key(self) -> Mapping[str, int]:
        """The ports by environment key."""
        prefix = self.model_config["env_prefix"]
        return {f"{prefix}{field}".upper(): getattr(self, field) for field in type(self).model_fields}


def free_ports() -> Ports:
    """Ports that nothing listens on, drawn at random so that systems that start at once do not meet."""
    return Ports(**dict(zip(Ports.model_fields, free_port_numbers(len(Ports.model_fields)), strict=True)))


def free_port_numbers(count: int, besides: Collection[int] = ()) -> list[int]:
    """So many ports that nothing listens on.

    Args:
        besides: others, which somebody will listen on.
    """
    candidates = iter(random.sample(FREE_PORT_RANGE, k=len(FREE_PORT_RANGE)))
    return [next(port for port in candidates if port not in besides and _is_free(port)) for _ in range(count)]


def check_free(ports: Ports) -> None:
    """See that every port can be listened on.

    Raises:
        InvalidSettings: two servers have one port, or a port is taken; names the keys.
    """
    problems: dict[str, str] = {}
    seen: dict[int, str] = {}
    for key, port in ports.by_key.items():
        if port in seen:
            problems[key] = f"{port} is also the value of {seen[port]}"
        elif not _is_free(port):
            problems[key] = f"something listens on {HOST}:{port} already; set {key} to a free port"
        seen[port] = key
    if problems:
        raise InvalidSettings(problems)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a closed connection's last minute counts
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True

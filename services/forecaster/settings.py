"""What the forecaster reads from the environment."""

import socket

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import LogLevel, Name, NatsUrl, RedisUrl, Settings


class ForecasterSettings(Settings):
    """Keys `FORECASTER_…`, and the addresses that all services share."""

    model_config = SettingsConfigDict(env_prefix="FORECASTER_", frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8030, ge=1, le=65535)
    replica: Name | None = None
    """This replica's name among all, where not made from host and port."""
    partitions: int = Field(default=32, ge=1, le=1024)
    """Parts that the engines are shared in, where the stream is to be made; one that is there has its own number."""
    max_engines: int = Field(default=4096, ge=1)
    """The most engines that this replica keeps models of; telemetry of others is set aside."""
    telemetry_max_bytes: int = Field(default=2**30, ge=2**20)
    """What JetStream keeps of the telemetry at most, oldest first out; an hour is kept where that is less."""
    log_level: LogLevel = "INFO"
    nats_url: NatsUrl = Field(default="nats://127.0.0.1:4222", validation_alias="NATS_URL")
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")

    @property
    def replica_name(self) -> str:
        """The same after a restart, so that the leases of an earlier life need not be waited for."""
        hostname = "".join(c if c.isalnum() or c in "-_" else "-" for c in socket.gethostname())
        return self.replica or f"{hostname}-{self.port}"

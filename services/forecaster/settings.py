"""What the forecaster reads from the environment."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import LogLevel, NatsUrl, RedisUrl, Settings


class ForecasterSettings(Settings):
    """Keys `FORECASTER_…`, and the addresses that all services share."""

    model_config = SettingsConfigDict(env_prefix="FORECASTER_", frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8030, ge=1, le=65535)
    telemetry_max_bytes: int = Field(default=2**30, ge=2**20)
    """What JetStream keeps of the telemetry at most, oldest first out; an hour is kept where that is less."""
    log_level: LogLevel = "INFO"
    nats_url: NatsUrl = Field(default="nats://127.0.0.1:4222", validation_alias="NATS_URL")
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")

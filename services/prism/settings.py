"""What prism reads from the environment."""

import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field, PlainValidator, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.prism.policies import policy_named
from services.prism.retry_budget import RETRY_FLOOR, RETRY_SHARE
from shared.settings import LogLevel, Name, RedisUrl, Settings
from shared.slo import Slo

Milliseconds = Annotated[float, msgspec.Meta(gt=0)]


class _Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ttft_ms: Milliseconds | None = None
    tpot_ms: Milliseconds | None = None
    e2e_ms: Milliseconds | None = None

    def named(self, name: str) -> Slo:
        ttft_s, tpot_s, e2e_s = (
            None if target_ms is None else target_ms / 1e3 for target_ms in (self.ttft_ms, self.tpot_ms, self.e2e_ms)
        )
        return Slo(name=name, ttft_s=ttft_s, tpot_s=tpot_s, e2e_s=e2e_s)


def parse_slo_classes(text: Any) -> Mapping[str, Slo]:
    """SLO classes by name, from JSON such as `{"interactive": {"ttft_ms": 1000, "tpot_ms": 100}}`.

    Raises:
        ValueError: not a JSON object of classes; names the class and what is wrong with it.
    """
    if isinstance(text, Mapping):
        return text
    try:
        by_name = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ValueError(f"must be a JSON object of classes by name: {error}") from None
    classes = {}
    for name, raw in by_name.items():
        try:
            classes[name] = msgspec.json.decode(raw, type=_Targets).named(name)
        except msgspec.MsgspecError as error:
            raise ValueError(f"class {name!r}: {error}") from None
    return classes


def _default_replica() -> str:
    hostname = "".join(c if c.isalnum() or c in "-_" else "-" for c in socket.gethostname()) or "prism"
    return f"{hostname}-{os.getpid()}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class PrismSettings(Settings):
    """Keys `PRISM_…`, and the address that all services share."""

    model_config = SettingsConfigDict(env_prefix="PRISM_", frozen=True, extra="ignore", env_ignore_empty=True)

    keys_file: Path | None = None
    """API keys, as JSON: what each grants, by its SHA-256."""
    redis_keys: bool = False
    """Whether API keys are looked up in Redis too."""
    open: bool = False
    """Whether anyone who can reach it may use it, without keys, though others than this machine can."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    replica: Name = Field(default_factory=_default_replica)
    """This replica's name; a suffix for each start is added to it where dispatches are numbered."""
    policy: str = "synergy"
    """What picks an engine for a request, by name."""
    slo_classes: Annotated[Mapping[str, Slo], NoDecode, PlainValidator(parse_slo_classes)] = {}
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    head_s: float = Field(default=20.0, gt=0)
    """The longest that a client may take to send a request's headers."""
    idle_s: float = Field(default=60.0, gt=0)
    """The longest silence of an engine that has begun to answer."""
    answer_s: float = Field(default=600.0, gt=0)
    """The longest wait for the first byte of an answer, its time in an engine's queue included."""
    receipts: int = Field(default=20_000, ge=0)
    """That Redis keeps, about, of all replicas; 0: none are written."""
    retry_share: float = Field(default=RETRY_SHARE, ge=0, le=1)
    """Of the requests, that may be sent again to another engine."""
    retry_floor: float = Field(default=RETRY_FLOOR, ge=0)
    """Retries in 10 s beyond that share."""
    hedge_share: float | None = Field(default=None, gt=0, lt=1)
    """Of a request's TTFT target: after so much of it without a first byte a second engine is asked; None: never."""
    drain_s: int = Field(default=30, ge=0)
    log_level: LogLevel = "INFO"
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")

    @field_validator("host")
    @classmethod
    def _is_guarded(cls, host: str, info: ValidationInfo) -> str:
        is_waived = info.data.get("open") or info.data.get("keys_file") or info.data.get("redis_keys")
        if not _is_loopback(host) and not is_waived:
            raise ValueError(
                "is not loopback, so clients must show keys: give them in PRISM_KEYS_FILE or, with PRISM_REDIS_KEYS=true, "
                "in Redis; or let anyone in with PRISM_OPEN=true"
            )
        return host

    @field_validator("policy")
    @classmethod
    def _is_known(cls, name: str) -> str:
        policy_named(name)
        return name

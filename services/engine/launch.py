"""How Triton is started for one engine: what folders it is given, what flags, and what environment."""

import ctypes
import os
import secrets
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from services.engine.settings import EngineSettings

ENGINE_FOLDER = Path(__file__).resolve().parent
LIBPYTHON = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
LIBPYTHON_FOLDERS = (Path(sysconfig.get_config_var("LIBDIR")), Path(sys.base_prefix) / "lib")
EXIT_TIMEOUT_S = 2
"""How long Triton waits for running steps when it is told to stop; a step behind that is lost to a lens that left."""


class NoLibpython(SystemExit):
    """Triton's stub would not start, and Triton would only say that it waited in vain."""

    def __init__(self, library: str) -> None:
        self.library = library
        super().__init__(
            f"{library} is missing: Triton's Python stub needs this Python's shared library."
            " On Debian install libpython3.x; elsewhere take a Python that was built with --enable-shared."
        )


def check_libpython(library: str = LIBPYTHON) -> None:
    """See that the stub will find its Python.

    Raises:
        NoLibpython: it is neither beside this Python nor where the system's libraries are.
    """
    if any((folder / library).exists() for folder in LIBPYTHON_FOLDERS):
        return
    try:
        ctypes.CDLL(library)
    except OSError:
        raise NoLibpython(library) from None


def assemble(settings: EngineSettings, folder: Path) -> None:
    """Put together in the folder the Python backend for this Python, and a repository of only the chosen executor."""
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub_name = "triton_python_backend_stub"
    stub = settings.triton_home / "python_backend_stubs" / python_version / stub_name
    shipped = settings.triton_home / "backends" / "python"
    backend = folder / "backends" / "python"
    backend.mkdir(parents=True)
    (backend / stub_name).symlink_to(stub if stub.exists() else shipped / stub_name)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (backend / name).symlink_to(shipped / name)
    models = folder / "models"
    models.mkdir()
    (models / settings.executor).symlink_to(ENGINE_FOLDER / "models" / settings.executor)


def command(settings: EngineSettings, folder: Path, shared_memory_prefix: str) -> list[str]:
    """The command line. Only gRPC listens, and of gRPC nothing is open that maps memory or writes files."""
    return [
        str(settings.triton_home / "bin" / "tritonserver"),
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={folder / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix}",
        "--model-control-mode=explicit",  # so that lens can reload a model that has died
        f"--load-model={settings.executor}",
        f"--grpc-address={settings.host}",
        f"--grpc-port={settings.grpc_port}",
        f"--grpc-restricted-protocol=shared-memory,trace,logging:closed={secrets.token_hex()}",
        "--allow-http=false",
        "--allow-metrics=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--log-format=ISO8601",
    ]


def environment(settings: EngineSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment: the stub takes its Python from PATH, and Triton its libraries from beside the wheel."""
    libraries = [settings.triton_home.parents[1] / "nvidia_pytriton.libs", *LIBPYTHON_FOLDERS]
    return {
        **inherited,
        "PATH": _joined([Path(sys.executable).parent], inherited.get("PATH")),
        "PYTHONPATH": _joined([ENGINE_FOLDER.parents[1]], inherited.get("PYTHONPATH")),
        "LD_LIBRARY_PATH": _joined(libraries, inherited.get("LD_LIBRARY_PATH")),
        "GOMP_SPINCOUNT": "1000",  # engines that share cores would else spin against each other, up to 1.5 s a step
        "GGML_NO_BACKTRACE": "1",  # its backtrace would start a debugger
    }


def _joined(first: list[Path], rest: str | None) -> str:
    return os.pathsep.join([*map(str, first), *([rest] if rest else [])])

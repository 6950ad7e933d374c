"""`python -m services.engine`: check the settings, then become Triton, so that signals reach it."""

import os
import socket

from services.engine.launch import assemble, command, environment, remove_leftovers, run_folder, shared_memory_prefix
from services.engine.settings import EngineSettings
from shared.settings import InvalidSettings, load


def main() -> None:
    """Never returns.

    Raises:
        InvalidSettings: a key is missing, or its value cannot be used.
    """
    settings = load(EngineSettings)
    check_port_is_free(settings.host, settings.grpc_port)
    folder = run_folder(settings.grpc_port)
    assemble(settings, folder)
    remove_leftovers(shared_memory_prefix(settings.grpc_port))
    arguments = command(settings, folder)
    os.execve(arguments[0], arguments, environment(settings, os.environ))  # noqa: S606 - no shell is wanted


def check_port_is_free(host: str, port: int) -> None:
    """Find a port that is taken before an engine on it loses its folder to this one.

    Raises:
        InvalidSettings: the host or the port cannot be listened on.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise InvalidSettings({"ENGINE_HOST, ENGINE_GRPC_PORT": f"cannot listen on {host}:{port}: {error}"}) from None


if __name__ == "__main__":
    main()

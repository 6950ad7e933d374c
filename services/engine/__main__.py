"""`python -m services.engine`: check the settings, then run Triton with the chosen executor until told to stop."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from services.engine.launch import assemble, check_libpython, command, environment
from services.engine.settings import EngineSettings
from services.engine.supervise import remove_shared_memory, run
from shared.logs import configure_logs
from shared.settings import load


def main() -> int:
    """The exit status.

    Raises:
        InvalidSettings: a key is missing, or its value cannot be used.
        NoLibpython: this Python has no shared library.
    """
    settings = load(EngineSettings)
    check_libpython()
    configure_logs("engine", settings.log_level)
    with tempfile.TemporaryDirectory(prefix="synergysched-engine-") as name:
        folder = Path(name)
        assemble(settings, folder)
        prefix = f"{folder.name}-"
        try:
            return asyncio.run(run(command(settings, folder, prefix), environment(settings, os.environ)))
        finally:
            remove_shared_memory(prefix)


if __name__ == "__main__":
    sys.exit(main())

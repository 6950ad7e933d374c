"""The Triton model of the llama.cpp executor; Triton's stub process imports it."""

import locale
from collections.abc import Sequence
from typing import Any

from services.engine.llamacpp import LlamaCppExecutor
from services.engine.settings import EngineSettings
from services.engine.triton import StepModel
from shared.logs import configure_logs
from shared.settings import load

locale.setlocale(locale.LC_ALL, "C.UTF-8")  # the stub starts its Python as ASCII, whatever the environment says


class TritonPythonModel:
    """What Triton calls; all of it is handed on."""

    def initialize(self, _args: dict[str, str]) -> None:
        """Load the model, before Triton calls it ready."""
        settings = load(EngineSettings)
        configure_logs("engine", settings.log_level)
        self._model = StepModel(LlamaCppExecutor(settings))

    def execute(self, requests: Sequence[Any]) -> None:
        """Take requests in; they are answered from the device's thread."""
        self._model.take(requests)

    def finalize(self) -> None:
        """Run what is waiting, then stop."""
        self._model.stop()

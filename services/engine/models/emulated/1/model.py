"""The Triton model of the emulated executor; Triton's stub process imports it."""

import locale
from collections.abc import Sequence
from typing import Any

from services.engine.emulated import EmulatedExecutor
from services.engine.pacing import Clock, wake_on_time
from services.engine.profile import load_profile
from services.engine.settings import EngineSettings
from services.engine.triton import StepModel
from shared.logs import configure_logs
from shared.settings import load

locale.setlocale(locale.LC_ALL, "C.UTF-8")  # the stub starts its Python as ASCII, whatever the environment says


class TritonPythonModel:
    """What Triton calls; all of it is handed on."""

    def initialize(self, _args: dict[str, str]) -> None:
        """Take the profile, before Triton calls the model ready."""
        settings = load(EngineSettings)
        configure_logs("engine", settings.log_level)
        wake_on_time()
        executor = EmulatedExecutor(
            load_profile(settings.profile),
            seed=settings.seed,
            time_scale=settings.time_scale,
            vocab_size=settings.vocab_size,
            clock=Clock(),
        )
        self._model = StepModel(executor)

    def execute(self, requests: Sequence[Any]) -> None:
        """Take requests in; they are answered from the device's thread."""
        self._model.take(requests)

    def finalize(self) -> None:
        """Run what is waiting, then stop."""
        self._model.stop()

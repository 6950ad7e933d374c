"""A whole profile from step logs: costs that all logs share, noise about each log's own fit, and limits that steps do not tell."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.fit_profile.fit import Array, Costs, Noise, fit_costs, noise_of
from loadgen.steplog import LoggedStep
from services.engine.emulation import StepTimes
from services.engine.profile import Profile


class Limits(NamedTuple):
    """The part of a profile that steps do not tell."""

    name: str
    hardware_class: str
    model: str
    source: str
    max_context_tokens: int
    max_step_tokens: int
    max_slots: int
    kv_block_tokens: int
    kv_blocks_total: int


def fit_profile(limits: Limits, logs: Sequence[Sequence[LoggedStep]]) -> Profile:
    """Costs fitted to all logs, and noise about each log's own fit: what one form cannot say of all is not noise."""
    steps = [step for log in logs for step in log]
    about_each = np.concatenate([residuals(noiseless_profile(limits, log), log) for log in logs])
    return _profile(limits, fit_costs(steps), noise_of(steps, about_each))


def noiseless_profile(limits: Limits, steps: Sequence[LoggedStep]) -> Profile:
    """Costs fitted to the steps, all of them as expected."""
    silence = Noise(residuals=(0.0,), block_steps=1, stall_share=0.0, stall_ms=0.0)
    return _profile(limits, fit_costs(steps), silence)


def _profile(limits: Limits, costs: Costs, noise: Noise) -> Profile:
    return Profile(**limits._asdict(), **costs._asdict(), **noise._asdict(), residuals_source=limits.source)


def residuals(profile: Profile, steps: Sequence[LoggedStep]) -> Array:
    """Actual ÷ expected − 1 of each step."""
    times = StepTimes(profile, seed=0)
    return np.array([step.duration_s / times.expected_s(step.shape) - 1.0 for step in steps])


def written(profile: Profile) -> str:
    """As JSON, a field a line: tables and residuals would else take a line a number."""
    fields = msgspec.to_builtins(profile).items()
    return "{\n" + ",\n".join(f'"{field}": {msgspec.json.encode(value).decode()}' for field, value in fields) + "\n}\n"

"""A portion of what was learned as the script in Redis unpacks it: keys, values, and entries of the time series. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from services.forecaster.engine_model import EngineModel, Observation
from services.forecaster.learner import Held
from services.forecaster.outbox import Placed, Portion, Save
from shared.names import forecast_key, model_key, partition_key, steps_stream_key
from shared.telemetry import RequestReport
from shared.wire import encode

Fields = list[object]
"""In the order of the script, text and numbers throughout: its unpacker does not know binary."""


def made_forecasts(portion: Portion, models: Mapping[str, EngineModel], written_at_s: float) -> dict[str, bytes]:
    """The forecasts that are due, by engine."""
    return {engine: encode(models[engine].forecast(written_at_s)) for engine in portion.forecasts}


def fields(portion: Portion, forecasts: Mapping[str, bytes], held: Held, holder: str, *, release: bool) -> Fields:
    """All that goes out of one partition; `release`: whether its lease is given up in the same act."""
    values: list[str] = []
    for engine, forecast in {**portion.restated, **forecasts}.items():
        values += (forecast_key(engine), forecast.decode())
    partition, epoch = portion.lease
    head = [partition, partition_key(partition), holder, str(epoch), values]
    if portion.save is None:
        return [*head, "", "", [], [], [], release]
    for engine in portion.save.engines:
        values += (model_key(engine), encode(held.models[engine].state).decode())
    stream, sequence = held.position
    return [*head, stream, str(sequence), *_series(portion.save, stream), release]


def _series(save: Save, stream: str) -> Fields:
    steps = [[steps_stream_key(engine), _steps_entry(observations)] for engine, observations in save.steps.items()]
    requests = [_request_entry(engine, report) for engine, report in save.requests]
    return [steps, requests, [_set_aside_entry(stream, placed) for placed in save.set_aside]]


def _steps_entry(observations: Iterable[Observation]) -> list[str]:
    columns: Mapping[str, list[float]] = {
        "step": [seen.step for seen in observations],
        "predicted_ms": [round(seen.predicted_s * 1e3, 3) for seen in observations],
        "actual_ms": [round(seen.actual_s * 1e3, 3) for seen in observations],
    }
    return [part for name, values in columns.items() for part in (name, msgspec.json.encode(values).decode())]


def _request_entry(engine: str, report: RequestReport) -> list[str]:
    """A field for each that the report has; what never came to be is left out."""
    told = {name: value for name, value in msgspec.to_builtins(report).items() if value is not None}
    return ["engine", engine, *(part for name, value in told.items() for part in (name, str(value)))]


def _set_aside_entry(stream: str, placed: Placed) -> list[str]:
    reason, problem, data = placed.set_aside
    place = ["engine", placed.engine, "stream", stream, "sequence", str(placed.sequence)]
    return ["reason", reason.value, "problem", problem, *place, "data", data.decode(errors="backslashreplace")]

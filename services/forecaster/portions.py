"""A portion of what was learned as the script in Redis unpacks it: keys, values, and entries of the time series. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from services.forecaster.engine_model import EngineModel, Observation, Position
from services.forecaster.intake import MOST_CHARACTERS
from services.forecaster.learner import BROKEN_MODEL, Learner
from services.forecaster.outbox import Placed, Portion, Save
from shared.names import forecast_key, model_key, partition_key, steps_stream_key, unreadable_model_key
from shared.telemetry import RequestReport
from shared.wire import Message, encode

Fields = list[object]
"""In the order of the script, text and numbers throughout: its unpacker does not know binary."""


class Made(NamedTuple):
    """What is written of a portion's engines, by engine."""

    forecasts: Mapping[str, bytes]
    models: Mapping[str, bytes]
    broken: Mapping[str, str]
    """What was wrong with the models that were begun anew; what is stored of them is kept under another key."""


def make(portion: Portion, learner: Learner, written_at_s: float) -> Made:
    """The forecasts and models that are due. A broken model is begun anew, and keeps no other from being written."""
    partition, broken = portion.lease.partition, dict[str, str]()
    models = learner.held[partition].models

    def written(engine: str, message_of: Callable[[EngineModel], Message]) -> bytes:
        try:
            return encode(message_of(models[engine]))
        except BROKEN_MODEL as error:
            broken[engine] = f"{type(error).__name__}: {error}"
            learner.begin_anew(partition, engine)
            return encode(message_of(models[engine]))

    forecasts = {engine: written(engine, lambda model: model.forecast(written_at_s)) for engine in portion.forecasts}
    saved = portion.save.engines if portion.save is not None else ()
    return Made(forecasts, {engine: written(engine, lambda model: model.state) for engine in saved}, broken)


def fields(portion: Portion, made: Made, position: Position, holder: str, *, release: bool) -> Fields:
    """All that goes out of one partition; `release`: whether its lease is given up in the same act."""
    values: list[str] = []
    for engine, forecast in {**portion.restated, **made.forecasts}.items():
        values += (forecast_key(engine), forecast.decode())
    partition, epoch = portion.lease
    kept_aside = [key for engine in made.broken for key in (model_key(engine), unreadable_model_key(engine))]
    head = [partition, partition_key(partition), holder, str(epoch), values, kept_aside]
    if portion.save is None:
        return [*head, "", "", [], [], [], release]
    for engine, model in made.models.items():
        values += (model_key(engine), model.decode())
    stream, sequence = position
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
    """A field for each that the report has, within bounds; what never came to be is left out."""
    told = {name: value for name, value in msgspec.to_builtins(report).items() if value is not None}
    return ["engine", engine, *(part for name, value in told.items() for part in (name, str(value)[:MOST_CHARACTERS]))]


def _set_aside_entry(stream: str, placed: Placed) -> list[str]:
    reason, problem, data = placed.set_aside
    place = ["engine", placed.engine[:MOST_CHARACTERS], "stream", stream, "sequence", str(placed.sequence)]
    return ["reason", reason.value, "problem", problem, *place, "data", data.decode(errors="backslashreplace")]

import json
from typing import Any

import msgspec

from services.forecaster.engine_model import Observation, Position
from services.forecaster.intake import MOST_CHARACTERS, Reason, SetAside
from services.forecaster.learner import Learner
from services.forecaster.outbox import Placed, Portion, Save
from services.forecaster.portions import Made, fields, make
from services.forecaster.sharing import Lease
from shared.forecast import Forecast
from shared.telemetry import Outcome, RequestReport
from shared.wire import decode
from tests.unit.forecaster.telemetry import trained

LEASE = Lease(3, 7)
REQUEST = RequestReport(
    request_id="r", slo_class="chat", outcome=Outcome.STOP, prompt_tokens=9, output_tokens=3, e2e_ms=99.5
)


PLACE = Position("2026", 9)


def learner(*engines: str) -> Learner:
    holder = Learner(10)
    holder.take(LEASE, PLACE, [trained(engine, 20) for engine in engines])
    return holder


def test_forecasts_alone_name_the_lease_and_leave_the_rest_empty():
    portion = Portion(LEASE, ("a",), {"b": b"{}"}, None)
    made = make(portion, learner("a"), written_at_s=5.0)
    assert decode(made.forecasts["a"], Forecast).written_at_s == 5.0
    *head, values, kept_aside, stream, sequence, steps, requests, set_aside, release = fields(
        portion, made, PLACE, "one#x", release=False
    )
    assert kept_aside == []
    assert head == [3, "synergy:v1:partition:3", "one#x", "7"]
    assert values == ["synergy:v1:forecast:b", "{}", "synergy:v1:forecast:a", made.forecasts["a"].decode()]
    assert (stream, sequence, steps, requests, set_aside, release) == ("", "", [], [], [], False)


def test_a_save_has_models_position_and_series_and_is_text_throughout():
    aside = SetAside(Reason.UNREADABLE, "no JSON", b"\xff{")
    seen = (Observation(1, 0.0100004, 0.011), Observation(2, 0.01, 0.0125))
    save = Save(("a",), {"a": seen}, (("a", REQUEST),), (Placed("a", 8, aside),))
    portion = Portion(LEASE, (), {}, save)
    written: list[Any] = fields(portion, make(portion, learner("a"), 5.0), PLACE, "one#x", release=True)
    values, _, stream, sequence, steps, requests, set_aside, release = written[4:]
    assert values[0] == "synergy:v1:model:a"
    assert json.loads(values[1])["steps_learned"] == 20
    assert (stream, sequence, release) == ("2026", "9", True)
    entry = ["step", "[1,2]", "predicted_ms", "[10.0,10.0]", "actual_ms", "[11.0,12.5]"]
    assert steps == [["synergy:v1:steps:a", entry]]
    assert dict(zip(requests[0][::2], requests[0][1::2], strict=True)) == {
        "engine": "a",
        "type": "request",
        "request_id": "r",
        "slo_class": "chat",
        "outcome": "stop",
        "prompt_tokens": "9",
        "output_tokens": "3",
        "e2e_ms": "99.5",
        "relegated": "False",
    }
    assert set_aside[0][-2:] == ["data", "\\xff{"]
    assert set_aside[0][:4] == ["reason", "unreadable", "problem", "no JSON"]


def test_a_broken_model_is_begun_anew_and_the_others_are_written(monkeypatch):
    holder = learner("a", "b")
    models = holder.held[LEASE.partition].models
    models["a"].position = PLACE

    def broken(_written_at_s: float) -> None:
        raise IndexError("row 99 of 3")

    monkeypatch.setattr(models["a"], "forecast", broken)
    portion = Portion(LEASE, ("a", "b"), {}, Save(("a", "b"), {}, (), ()))
    made = make(portion, holder, written_at_s=5.0)
    assert made.broken == {"a": "IndexError: row 99 of 3"}
    assert {name: decode(data, Forecast).steps_learned for name, data in made.forecasts.items()} == {"a": 0, "b": 20}
    assert json.loads(made.models["a"])["steps_learned"] == 0
    assert models["a"].position == PLACE
    kept_aside = fields(portion, made, PLACE, "one#x", release=False)[5]
    assert kept_aside == ["synergy:v1:model:a", "synergy:v1:unreadable-model:a"]


def test_what_lens_names_at_length_is_written_in_short():
    request = msgspec.structs.replace(REQUEST, request_id="r" * 5000, prompt_tokens=10**300)
    save = Save((), {}, (("a", request),), (Placed("b" * 4000, 8, SetAside(Reason.UNREADABLE, "no JSON", b"")),))
    written: list[Any] = fields(Portion(LEASE, (), {}, save), Made({}, {}, {}), PLACE, "one#x", release=False)
    assert max(len(part) for part in (*written[9][0], *written[10][0])) == MOST_CHARACTERS

import json
from typing import Any

from services.forecaster.engine_model import Observation, Position
from services.forecaster.intake import Reason, SetAside
from services.forecaster.learner import Held
from services.forecaster.outbox import Placed, Portion, Save
from services.forecaster.portions import fields, made_forecasts
from services.forecaster.sharing import Lease
from shared.forecast import Forecast
from shared.telemetry import Outcome, RequestReport
from shared.wire import decode
from tests.unit.forecaster.telemetry import trained

LEASE = Lease(3, 7)
REQUEST = RequestReport(
    request_id="r", slo_class="chat", outcome=Outcome.STOP, prompt_tokens=9, output_tokens=3, e2e_ms=99.5
)


def held() -> Held:
    return Held(LEASE, Position("2026", 9), [trained("a", 20)])


def test_forecasts_alone_name_the_lease_and_leave_the_rest_empty():
    portion = Portion(LEASE, ("a",), {"b": b"{}"}, None)
    forecasts = made_forecasts(portion, held().models, written_at_s=5.0)
    assert decode(forecasts["a"], Forecast).written_at_s == 5.0
    *head, values, stream, sequence, steps, requests, set_aside, release = fields(
        portion, forecasts, held(), "one#x", release=False
    )
    assert head == [3, "synergy:v1:partition:3", "one#x", "7"]
    assert values == ["synergy:v1:forecast:b", "{}", "synergy:v1:forecast:a", forecasts["a"].decode()]
    assert (stream, sequence, steps, requests, set_aside, release) == ("", "", [], [], [], False)


def test_a_save_has_models_position_and_series_and_is_text_throughout():
    aside = SetAside(Reason.UNREADABLE, "no JSON", b"\xff{")
    seen = (Observation(1, 0.0100004, 0.011), Observation(2, 0.01, 0.0125))
    save = Save(("a",), {"a": seen}, (("a", REQUEST),), (Placed("a", 8, aside),))
    written: list[Any] = fields(Portion(LEASE, (), {}, save), {}, held(), "one#x", release=True)
    values, stream, sequence, steps, requests, set_aside, release = written[4:]
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

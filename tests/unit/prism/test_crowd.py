"""Who is at each engine, from states and from what is on its way."""

import numpy as np
import pytest

from services.prism.crowd import BEGIN_S, EDGES_S, Crowd, crowd_of
from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS
from tests.unit.prism.builders import by_due, engine, pending, waiting


def crowd(*engines: EngineView, loads: tuple[Load, ...] = ()) -> Crowd:
    return crowd_of(engines, [*loads, *(Load() for _ in engines)][: len(engines)])


def test_every_number_is_where_its_name_says() -> None:
    busy = engine(
        "a",
        decode_seqs=3,
        prefill_seqs=1,
        kv_tokens=4000,
        max_running=40,
        step_tokens=512,
        least_prefill_tokens=32,
        step_target_ms=80.0,
        credit_ms=20.0,
        in_flight_ms=9.0,
        kv_blocks_free=77,
        kv_blocks_total=99,
        kv_block_tokens=8,
        arriving_per_s=2.5,
        arriving_tokens_per_s=by_due(640, interval=1),
        **waiting(2, 900, interval=3),
    )
    found = crowd(engine("idle"), busy)
    scalars = {name: float(values[1]) for name, values in found._asdict().items() if values.ndim == 1}
    assert scalars == {
        "decodes": 3,
        "kv_tokens": 4000,
        "requests_ahead": 3,
        "max_running": 40,
        "step_tokens": 512,
        "least_tokens": 32,
        "step_target_s": 0.08,
        "credit_s": 0.02,
        "in_flight_s": 0.009,
        "blocks_free": 77,
        "blocks_total": 99,
        "block_tokens": 8,
        "arriving_per_s": 2.5,
        "announced_at_s": 0.0,
        "forecast_written_at_s": 0.0,
        "is_cold": 0.0,
        "is_drifting": 0.0,
        "upper_ratio": pytest.approx(1.2),
        "on_their_way": 0.0,
    }
    assert found.tokens_by_due[:, 1].tolist() == list(by_due(900, interval=3))
    assert found.requests_by_due[:, 1].tolist() == list(by_due(2, interval=3))
    assert found.arriving_tokens_per_s[:, 1].tolist() == list(by_due(640, interval=1))
    assert not found.tokens_by_due[:, 0].any()


def test_what_is_on_its_way_is_ahead_and_due_as_what_waits() -> None:
    views = (engine("a", **waiting(2, 900, interval=3)), engine("b"))
    found = crowd(*views, loads=(Load(pending=pending(1, 50, interval=3)), Load(pending=pending(4, 80, interval=0))))
    assert found.requests_ahead.tolist() == [3, 4]
    assert found.tokens_by_due.T.tolist() == [list(by_due(950, interval=3)), list(by_due(80, interval=0))]
    assert found.requests_by_due.T.tolist() == [list(by_due(3, interval=3)), list(by_due(4, interval=0))]
    assert crowd(*views).requests_ahead.tolist() == [2, 0]  # nothing is left of it where it is not


def test_an_engine_that_tells_nonsense_divides_nothing_by_zero() -> None:
    found = crowd(engine("a", max_running=0, kv_blocks_total=0, kv_block_tokens=0, least_prefill_tokens=0))
    assert [float(v[0]) for v in (found.max_running, found.blocks_total, found.block_tokens, found.least_tokens)] == [
        1
    ] * 4


def test_intervals_follow_one_another() -> None:
    assert BEGIN_S[:, 0].tolist() == [0.0, *DUE_EDGES_S]
    assert (EDGES_S[:-1] == BEGIN_S[1:]).all()
    assert (np.diff(EDGES_S, axis=0) > 0.0).all()
    assert len(EDGES_S) == DUE_INTERVALS

"""Whatever is known of an engine, what is foreseen of it makes sense, and more load never makes it look better."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.prism.dispatches import Load
from services.prism.due_order import EDGES_S, keep_next, nothing_kept
from services.prism.engine_row import Array, rows_of
from services.prism.fleet import EngineView, Pool
from services.prism.foresee import Foreseen, foresee
from services.prism.foresighted import foresighted
from services.prism.pending import Pending
from services.prism.policy import Pick, Question
from services.prism.prompt_size import Ask
from shared.engine_state import DUE_INTERVALS
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.steptime import StepModel
from tests.property.prism.engines import (
    absurd_engines,
    asks,
    by_due,
    changed,
    engines,
    loads,
    slos,
    straight_models,
)
from tests.unit.prism.builders import engine

Change = Callable[[EngineView, Load, int, int, int], tuple[EngineView, Load]]
"""What becomes of an engine and its load with requests more of so many tokens, of one interval."""
SLACK = 1e-6
"""For rounding, relative."""
SPREAD = 1e-3
"""Where a target is out of reach, what is foreseen spreads as it grows, and leaves a little more hope."""

mores = st.tuples(st.integers(0, DUE_INTERVALS - 1), st.integers(1, 20), st.integers(1, 5000))


def more_waiting(view: EngineView, load: Load, interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    state = view.state
    busier = changed(
        view,
        waiting_requests=state.waiting_requests + requests,
        prefills_by_due=_added(state.prefills_by_due, interval, requests),
        prefill_tokens_by_due=_added(state.prefill_tokens_by_due, interval, requests * tokens),
    )
    return busier, load


def more_pending(view: EngineView, load: Load, interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    more = Pending.of([(interval, tokens)] * requests)
    return view, Load(load.outstanding_requests, load.pending.plus(more))


def more_answers(view: EngineView, load: Load, _interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    state = view.state
    return changed(view, decode_seqs=state.decode_seqs + requests, kv_tokens=state.kv_tokens + requests * tokens), load


def more_kv_tokens(view: EngineView, load: Load, _interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    return changed(view, kv_tokens=view.state.kv_tokens + requests * tokens), load


def more_arriving(view: EngineView, load: Load, interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    state = view.state
    busier = changed(
        view,
        arriving_per_s=state.arriving_per_s + requests,
        arriving_tokens_per_s=_added(state.arriving_tokens_per_s, interval, float(requests * tokens)),
    )
    return busier, load


def fewer_blocks(view: EngineView, load: Load, _interval: int, requests: int, tokens: int) -> tuple[EngineView, Load]:
    return changed(view, kv_blocks_free=max(view.state.kv_blocks_free - requests * tokens, 0)), load


def _added(counts: tuple[Any, ...], interval: int, more: float) -> tuple[Any, ...]:
    return (*counts[:interval], counts[interval] + more, *counts[interval + 1 :])


def _before_and_after(
    change: Change, more: tuple[int, int, int], view: EngineView, load: Load, ask: Ask, slo: Slo
) -> tuple[Foreseen, Foreseen]:
    busier, more_load = change(view, load, *more)
    before = foresee(rows_of([view.row]), load.pending.as_array[None], ask, slo, 0.0)
    return before, foresee(rows_of([busier.row]), more_load.pending.as_array[None], ask, slo, 0.0)


@pytest.mark.parametrize("change", [more_waiting, more_pending, more_arriving, fewer_blocks])
@given(view=engines(straight_models(reads_cache=False), lends=False), load=loads, ask=asks(), slo=slos, more=mores)
def test_more_before_a_request_never_makes_it_look_better(
    change: Change, view: EngineView, load: Load, ask: Ask, slo: Slo, more: tuple[int, int, int]
) -> None:
    """Where the cache takes no time: a prompt that cannot be on time any more is not counted in it."""
    before, after = _before_and_after(change, more, view, load, ask, slo)
    assert after.ttft_s[0] >= before.ttft_s[0] * (1 - SLACK)
    assert after.p_met[0] <= before.p_met[0] + SPREAD


@pytest.mark.parametrize("change", [more_answers, more_kv_tokens, more_arriving, fewer_blocks])
@given(view=engines(straight_models(), lends=False), ask=asks(), slo=slos, more=mores)
def test_beside_answers_alone_more_load_never_makes_answers_look_faster(
    change: Change, view: EngineView, ask: Ask, slo: Slo, more: tuple[int, int, int]
) -> None:
    """There are some in any case: the first brings a pace to the engine, which may be faster than the request's own.

    An answer with an E2E target is paced the faster the later it begins.
    """
    answers = changed(
        view,
        decode_seqs=max(view.state.decode_seqs, 1),
        waiting_requests=0,
        prefills_by_due=(),
        prefill_tokens_by_due=(),
    )
    before, after = _before_and_after(change, more, answers, Load(), ask, slo)
    assert after.ttft_s[0] >= before.ttft_s[0] * (1 - SLACK)
    if slo.e2e_s is None:
        assert after.tpot_s[0] >= before.tpot_s[0] * (1 - SLACK)
    assert after.p_met[0] <= before.p_met[0] + SPREAD


@pytest.mark.parametrize("change", [more_arriving, fewer_blocks])
@given(view=engines(), load=loads, ask=asks(), slo=slos, more=mores)
def test_what_comes_and_what_fills_the_cache_never_makes_any_engine_look_better(
    change: Change, view: EngineView, load: Load, ask: Ask, slo: Slo, more: tuple[int, int, int]
) -> None:
    before, after = _before_and_after(change, more, view, load, ask, slo)
    assert after.ttft_s[0] >= before.ttft_s[0] * (1 - SLACK)
    assert after.p_met[0] <= before.p_met[0] + SPREAD


@given(
    views=st.lists(st.one_of(engines(), absurd_engines()), min_size=1, max_size=4),
    data=st.data(),
    ask=asks(),
    slo=slos,
    now_s=st.sampled_from((0.0, 1e9)),
)
def test_whatever_is_known_what_is_foreseen_makes_sense(
    views: Sequence[EngineView], data: st.DataObject, ask: Ask, slo: Slo, now_s: float
) -> None:
    known = [data.draw(loads) for _ in views]
    on_their_way = np.array([load.pending.as_array for load in known])
    cached_tokens = [data.draw(st.integers(0, ask.prompt_tokens - 1)) for _ in views]
    foreseen = foresee(
        rows_of([view.row for view in views]), on_their_way, ask, slo, now_s, cached_tokens=cached_tokens
    )
    for name, values in foreseen._asdict().items():
        assert values.shape == (len(views),), name
        assert np.isfinite(values).all(), name
        assert (values >= 0.0).all(), name
    assert (foreseen.ttft_s > 0.0).all()
    assert (foreseen.p_met <= 1.0).all()
    assert (foreseen.pressure <= 1.0).all()
    for broken, view, load in zip(foreseen.others_broken, views, known, strict=True):
        waiting = sum(view.state.prefills_by_due) + load.pending.requests
        assert broken <= max(waiting, DUE_INTERVALS) * (1 + SLACK)


def _kept(tokens: tuple[int, ...], rate: float) -> Array:
    """By interval."""
    kept, so_far = [], nothing_kept()
    for edge_s, due_tokens in zip(EDGES_S, tokens, strict=True):
        so_far = keep_next(so_far, float(due_tokens), rate * edge_s)
        kept.append(so_far.tokens)
    return np.array(kept)


@given(
    tokens=by_due(st.one_of(st.integers(0, 100_000), st.just(0))),
    rate=st.floats(1e-3, 1e6),
    slower=st.floats(0.1, 10.0),
)
def test_what_is_kept_is_computed_in_time_and_was_given(tokens: tuple[int, ...], rate: float, slower: float) -> None:
    kept = _kept(tokens, rate / slower)
    assert (kept >= 0.0).all()
    assert (kept <= np.array(tokens) * (1 + SLACK) + 1e-6).all()
    assert (np.cumsum(kept) <= rate / slower * np.array(EDGES_S) * (1 + SLACK) + 1e-6).all()


@given(tokens=by_due(st.integers(0, 1000)))
def test_where_there_is_time_for_all_all_is_kept(tokens: tuple[int, ...]) -> None:
    assert (_kept(tokens, 8 * 1000 / EDGES_S[0]) == np.array(tokens)).all()


@st.composite
def fresh_and_free(draw: st.DrawFn, name: str) -> EngineView:
    """With answers at most, and news of this moment."""
    return engine(
        name,
        model=draw(straight_models()),
        health=draw(st.sampled_from(ModelHealth)),
        decode_seqs=draw(st.integers(0, 60)),
        kv_tokens=draw(st.integers(0, 50_000)),
        step_target_ms=draw(st.floats(5.0, 200.0)),
        in_flight_ms=draw(st.floats(0.0, 100.0)),
    )


def _scaled(view: EngineView, factor: float) -> EngineView:
    state, model = view.state, view.model
    scaled = changed(view, step_target_ms=factor * state.step_target_ms, in_flight_ms=factor * state.in_flight_ms)
    coefficients_s = tuple([factor * coefficient for coefficient in model.coefficients_s])
    slower: StepModel = msgspec.structs.replace(model, coefficients_s=coefficients_s, floor_s=factor * model.floor_s)
    return msgspec.structs.replace(scaled, model=slower)


@settings(deadline=None)
@given(
    views=st.tuples(*(fresh_and_free(name) for name in "abc")),
    ask=asks(),
    ttft_s=st.floats(0.05, 2.0),
    tpot_s=st.floats(0.01, 0.2),
    draw=st.floats(0, 1, exclude_max=True),
    factor=st.sampled_from((0.25, 0.5, 2.0, 4.0)),
)
def test_if_all_was_slower_and_targets_as_much_later_the_same_engine_would_be_chosen(
    views: tuple[EngineView, ...], ask: Ask, ttft_s: float, tpot_s: float, draw: float, factor: float
) -> None:
    """Where nobody waits or comes: intervals of due dates are what they are. Powers of two, which leave all digits alone."""
    question = Question(Pool.of(views), {}, ask, Slo(ttft_s=ttft_s, tpot_s=tpot_s), draw, turn=0)
    slower = question._replace(
        pool=Pool.of([_scaled(view, factor) for view in views]),
        slo=Slo(ttft_s=factor * ttft_s, tpot_s=factor * tpot_s),
    )
    now, then = foresighted(question), foresighted(slower)
    if isinstance(now, Pick) and isinstance(then, Pick):
        assert (then.place, then.reason, then.p_met) == (now.place, now.reason, now.p_met)
        assert then.ttft_s == pytest.approx(factor * (now.ttft_s or math.nan))
    else:
        assert now == then

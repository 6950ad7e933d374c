"""Whatever an engine's history was, its step model stays a law that an engine could obey, and knows what it does not know."""

import math
import random
from collections.abc import Iterable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.forecaster.model import StepTimeRegressor
from shared.steptime import MOST_DOUBT, StepModel, StepShape

durations_s = st.floats(1e-6, 1e3)


@st.composite
def shapes(draw: st.DrawFn, *, most_prefills: int = 4) -> StepShape:
    """Any step from one decode to 8,192 tokens over 2 M cached ones."""
    prefill_seqs = draw(st.integers(0, most_prefills))
    decodes = draw(st.integers(0 if prefill_seqs else 1, 1024))
    chunks = draw(st.integers(2 * prefill_seqs, 8192 - decodes)) if prefill_seqs else 0
    kv_tokens = draw(st.integers(0, 2_000_000))
    mean_chunk = chunks / prefill_seqs if prefill_seqs else 0.0
    behind = draw(st.floats(0, 1)) * kv_tokens / (prefill_seqs or 1)
    return StepShape(
        decodes + prefill_seqs, decodes + chunks, kv_tokens, chunks * (behind + mean_chunk / 2), prefill_seqs
    )


wild = st.lists(st.tuples(shapes(), durations_s), max_size=60)
wild_decodes = st.lists(st.tuples(shapes(most_prefills=0), durations_s), max_size=60)


@st.composite
def orderly(draw: st.DrawFn) -> list[tuple[StepShape, float]]:
    """An engine with a law of its own, its traffic within bounds, decode-only or mixed."""
    base_s = draw(st.floats(1e-3, 0.1))
    balance_tokens = draw(st.floats(50, 500))
    per_kv_s = base_s * draw(st.floats(1e-6, 3e-5))
    noise = draw(st.floats(0.001, 0.05))
    most_decodes, most_chunk = draw(st.integers(4, 64)), draw(st.sampled_from((0, 64, 512)))
    chance = random.Random(draw(st.integers(0, 2**32)))
    history = []
    for _ in range(400):
        decodes = chance.randint(1, most_decodes)
        chunk = chance.choice((0, chance.randint(2, most_chunk))) if most_chunk else 0
        kv_tokens = decodes * chance.randint(10, 2000)
        tokens = decodes + chunk
        law_s = base_s * max(1.0, tokens / balance_tokens) + per_kv_s * kv_tokens + 0.1 * base_s * (chunk > 0)
        shape = StepShape(decodes + (chunk > 0), tokens, kv_tokens, chunk**2 / 2, int(chunk > 0))
        history.append((shape, law_s * math.exp(chance.gauss(0, noise))))
    return history


def learned(history: Iterable[tuple[StepShape, float]]) -> StepTimeRegressor:
    regressor = StepTimeRegressor()
    for shape, duration_s in history:
        regressor.learn(shape, duration_s)
    return regressor


def more(shape: StepShape, *, decodes: int, prefill_tokens: int, context: int) -> StepShape:
    """The step with sequences, tokens of a prefill, or context added."""
    mean_chunk = prefill_tokens + (shape.num_tokens - shape.batch_size)
    return StepShape(
        shape.batch_size + decodes + (prefill_tokens > 0),
        shape.num_tokens + decodes + prefill_tokens,
        shape.kv_tokens + context,
        shape.attention_work + prefill_tokens * (context + mean_chunk / 2),
        shape.prefill_seqs + (prefill_tokens > 0),
    )


histories = st.one_of(wild, wild_decodes, orderly())
additions = st.fixed_dictionaries(
    {"decodes": st.integers(0, 64), "prefill_tokens": st.integers(0, 2048), "context": st.integers(0, 100_000)}
)


@settings(deadline=None, max_examples=150)
@given(histories, st.integers(1, 10), shapes())
def test_predictions_and_their_bounds_are_positive_finite_and_in_order(history, repeats, query):
    regressor = learned(history * repeats)
    for seen in (regressor.predict(query), regressor.step_model().interval(query)):
        assert 0 < float(seen.lower_s) <= float(seen.expected_s) <= float(seen.upper_s) < math.inf
        assert float(seen.upper_s / seen.expected_s) <= MOST_DOUBT * (1 + 1e-9)


@settings(deadline=None, max_examples=150)
@given(histories, st.integers(1, 10), shapes(), additions)
def test_nothing_that_is_added_to_a_batch_shortens_the_step(history, repeats, query, addition):
    regressor = learned(history * repeats)
    fuller = more(query, **addition)
    published = regressor.step_model()
    assert float(published.step_time_s(fuller)) >= float(published.step_time_s(query)) * (1 - 1e-12)
    assert float(regressor.predict(fuller).expected_s) >= float(regressor.predict(query).expected_s) * (1 - 1e-12)


@settings(deadline=None, max_examples=60)
@given(histories, st.lists(shapes(), min_size=1, max_size=20))
def test_candidates_together_are_the_same_as_one_by_one(history, queries):
    published = learned(history).step_model()
    together = published.interval(StepShape(*np.array(queries, np.float64).T))
    for number, query in enumerate(queries):
        alone = published.interval(query)
        for many, one in zip(together, alone, strict=True):
            assert math.isclose(float(np.asarray(many)[number]), float(one), rel_tol=1e-9)


def relative_width(model: StepModel, shape: StepShape) -> float:
    seen = model.interval(shape)
    return float(seen.upper_s / seen.lower_s)


FAR = (
    StepShape(64, 8192, 100_000, 8128**2 / 2, 1),
    StepShape(1, 2048, 0, 2048**2 / 2, 1),
    StepShape(33, 2080, 60_000, 2048**2 / 2, 1),
)


@settings(deadline=None, max_examples=40)
@given(orderly(), st.sampled_from(FAR))
def test_intervals_are_wider_away_from_the_data(history, far):
    published = learned(history).step_model()
    widths = sorted(
        relative_width(published, shape)
        for shape, _ in history[-50:]
        if (shape.prefill_seqs > 0) is (history[-1][0].prefill_seqs > 0)
    )
    assert relative_width(published, far) > widths[len(widths) // 2]

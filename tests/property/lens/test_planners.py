"""Whatever the queue: no planner exceeds its bounds, runs anyone twice, or rests while there is something to do."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from services.lens.budget import NEAR_ENOUGH, prefill_budget_tokens
from services.lens.plan import PlanLimits, Queue, Room
from services.lens.planners import planner_named
from services.lens.sequence import Sequence
from shared.slo import Slo
from shared.steptime import StepShape
from tests.step_models import step_model
from tests.unit.lens.builders import in_engine, sequence

names = st.sampled_from(
    (
        "synergy",
        "published",
        "prefill-first",
        "static-1",
        "static-48",
        "static-48-relegating",
        "static-48-triaging",
        "static-512",
    )
)
models = st.builds(
    lambda base, per_token, per_tile, per_work: step_model(
        base=base, per_token=per_token, per_tile=per_tile, mixed=base / 3, per_attention_work=per_work
    ),
    st.floats(0, 0.1),
    st.floats(0, 0.01),
    st.floats(0, 0.01),
    st.floats(0, 1e-5),
)
targets = st.one_of(st.none(), st.floats(0.01, 10))


@st.composite
def queues(draw: st.DrawFn) -> Queue:
    running = []
    for slot in range(draw(st.integers(0, 6))):
        started = _sequence(draw)
        in_engine(started, draw(st.integers(1, len(started.prompt_ids))), draw(st.floats(0, 10)))
        started.slot = slot
        running.append(started)
    waiting = [_sequence(draw) for _ in range(draw(st.integers(0, 6)))]
    room = Room(draw(st.integers(0, 5)), draw(st.integers(0, 400)), 4)
    now_s = draw(st.floats(0, 10))
    return Queue(running, waiting, room, now_s, now_s + draw(st.floats(0, 1)))


def _sequence(draw: st.DrawFn) -> Sequence:
    slo = Slo(ttft_s=draw(targets), tpot_s=draw(targets), e2e_s=draw(targets))
    return sequence(draw(st.integers(1, 300)), draw(st.integers(1, 20)), slo=slo, arrival_s=draw(st.floats(0, 10)))


@given(names, queues(), models, st.one_of(st.integers(1, 12), st.integers(1, 600)), st.floats(0.001, 1))
def test_a_plan_keeps_every_bound(name, queue, model, max_step_tokens, target_s):
    limits = PlanLimits(max_step_tokens, least_prefill_tokens=4, target_s=target_s)
    allotments = planner_named(name)(queue, model, limits)
    sequences = [allotment.sequence for allotment in allotments]
    assert len(set(map(id, sequences))) == len(sequences)
    budget = int(match[1]) if (match := re.match(r"static-(\d+)", name)) else max_step_tokens
    assert sum(allotment.num_tokens for allotment in allotments) <= min(budget, max_step_tokens)
    for drawn, num_tokens, is_prefill, _ in allotments:
        assert 1 <= num_tokens <= (drawn.prefill_tokens_left if is_prefill else 1)
        assert is_prefill or drawn.can_decode
    joining = [drawn for drawn in sequences if any(drawn is waiting for waiting in queue.waiting)]
    assert len(joining) <= queue.room.slots
    assert sum(-(-drawn.most_cached_tokens // 4) for drawn in joining) <= queue.room.blocks
    could_run = [drawn for drawn in queue.running if drawn.prefill_tokens_left or drawn.can_decode]
    assert allotments or not could_run


@given(
    models,
    st.integers(0, 200),
    st.integers(-20, 2000),
    st.integers(0, 64),
    st.integers(0, 4000),
    st.floats(0, 1),
)
def test_the_chunk_found_fits_and_one_that_is_clearly_larger_does_not(model, decodes, most, least, cached, target_s):
    step = StepShape(decodes, decodes, 100 * decodes)
    found = prefill_budget_tokens(
        model, step, target_s=target_s, most_tokens=most, least_tokens=least, cached_tokens=cached
    )

    def takes_s(tokens: int) -> float:
        work = tokens * (cached + tokens / 2)
        return float(model.step_time_s(StepShape(decodes + 1, decodes + tokens, 100 * decodes + cached, work, 1)))

    most = max(most, 0)
    assert min(least, most) <= found <= most
    assert found == min(least, most) or takes_s(found) <= target_s
    larger = found + 1 + math.ceil(NEAR_ENOUGH * found)
    assert larger >= most or target_s == 0.0 or takes_s(larger) > target_s * (1 - 1e-12)

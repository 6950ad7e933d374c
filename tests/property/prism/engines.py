"""Engines, what is on its way to them, and requests, of any kind that there could be."""

import math
from typing import Any

import msgspec
from hypothesis import strategies as st

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet, Pool
from services.prism.pending import Pending
from services.prism.prompt_size import Ask
from shared.engine_state import DUE_INTERVALS
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.steptime import FEATURES, KNEES_TOKENS, Residuals, StepModel
from tests.step_models import step_model as law
from tests.unit.prism.builders import state

MODELS = ("tiny", "large")


def by_due(counts: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """One for each interval of `DUE_EDGES_S`."""
    return st.lists(counts, min_size=DUE_INTERVALS, max_size=DUE_INTERVALS).map(tuple)


@st.composite
def prompts_by_due(draw: st.DrawFn, most_tokens: int = 50_000) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Requests and their prompt tokens, at least one each."""
    requests = draw(by_due(st.integers(0, 50)))
    longest = draw(by_due(st.integers(1, most_tokens)))
    return requests, tuple([min(count, 1) * (count + tokens) for count, tokens in zip(requests, longest, strict=True)])


@st.composite
def step_models(draw: st.DrawFn) -> StepModel:
    """Engines that could be: compute beyond the knees does not grow faster than the weights' reading hid it before."""
    base_s = draw(st.floats(1e-3, 0.1))
    small = st.floats(0, 1e-3)
    noise = Residuals(deviation=draw(st.floats(0.0, 1.0)))
    return law(
        base=base_s,
        per_sequence=draw(small),
        per_token=draw(small),
        per_kv_token=draw(st.floats(0, 1e-5)),
        per_attention_work=draw(st.floats(0, 1e-7)),
        per_token_beyond_64=draw(st.floats(0, base_s / KNEES_TOKENS[-1])),
        mixed_per_sequence=draw(small),
        floor_s=draw(st.floats(0, 0.05)),
        decode_residuals=noise,
        mixed_residuals=noise,
    )


@st.composite
def straight_models(draw: st.DrawFn, *, reads_cache: bool = True) -> StepModel:
    """Those where a token more takes as long in any step: nothing is gained or lost by the size of a chunk.

    Args:
        reads_cache: whether what is in the cache takes time.
    """
    return law(
        base=draw(st.floats(1e-3, 0.1)),
        per_sequence=draw(st.floats(0, 1e-3)),
        per_token=draw(st.floats(1e-6, 1e-3)),
        per_kv_token=draw(st.floats(0, 1e-6)) if reads_cache else 0.0,
    )


@st.composite
def engines(
    draw: st.DrawFn, models: st.SearchStrategy[StepModel] | None = None, *, name: str = "a", lends: bool = True
) -> EngineView:
    """An engine that may be idle, full, or anything between.

    Args:
        lends: whether its answers may be ahead of their targets.
    """
    blocks_total = draw(st.integers(1, 10_000))
    decode_seqs = draw(st.integers(0, 512))
    prefills, tokens = draw(prompts_by_due())
    late_requests, late_tokens = draw(st.integers(0, 50)), draw(st.integers(0, 50_000))
    drawn = state(
        name,
        model=draw(st.sampled_from(MODELS)),
        announced_at_s=-draw(st.floats(0, 10)),
        draining=draw(st.booleans()),
        serving=draw(st.booleans()),
        max_context_tokens=draw(st.integers(1, 100_000)),
        max_running=draw(st.integers(1, 512)),
        step_tokens=draw(st.integers(1, 16_384)),
        step_target_ms=draw(st.floats(1.0, 500.0)),
        kv_blocks_total=blocks_total,
        kv_block_tokens=draw(st.sampled_from((1, 16, 64))),
        kv_blocks_free=draw(st.integers(0, blocks_total)),
        decode_seqs=decode_seqs,
        kv_tokens=draw(st.integers(0, 200_000)),
        waiting_requests=sum(prefills) + late_requests,
        waiting_prefill_tokens=sum(tokens) + late_tokens,
        prefills_by_due=prefills,
        prefill_tokens_by_due=tokens,
        arriving_tokens_per_s=tuple(map(float, draw(by_due(st.integers(0, 5000))))),
        arriving_per_s=draw(st.floats(0, 50)),
        credit_ms=draw(st.floats(0, 500)) if lends and decode_seqs else 0.0,
        in_flight_ms=draw(st.floats(0, 500)),
    )
    return EngineView(
        state=drawn,
        model=draw(step_models() if models is None else models),
        health=draw(st.sampled_from(ModelHealth)),
        forecast_written_at_s=draw(st.one_of(st.floats(-100, 0), st.just(-math.inf))),
    )


ANY_COUNT = st.sampled_from((0, 1, 7, 10_000, 10**9))
ANY_TIME_MS = st.sampled_from((0.0, 1e-6, 1.0, 1e9))
ANY_COEFFICIENT_S = st.sampled_from((0.0, 1e-12, 1e-3, 1e3))


@st.composite
def absurd_engines(draw: st.DrawFn, name: str = "z") -> EngineView:
    """Nobody has such an engine; but anybody may announce one."""
    counts: dict[str, Any] = {
        field: draw(ANY_COUNT)
        for field in (
            *("max_context_tokens", "max_running", "step_tokens", "least_prefill_tokens"),
            *("kv_blocks_total", "kv_block_tokens", "kv_blocks_free"),
            *("decode_seqs", "prefill_seqs", "kv_tokens", "waiting_requests", "waiting_prefill_tokens"),
        )
    }
    times_ms: dict[str, Any] = {field: draw(ANY_TIME_MS) for field in ("step_target_ms", "credit_ms", "in_flight_ms")}
    drawn = state(
        name,
        emulated=False,
        announced_at_s=draw(st.sampled_from((-1e9, 0.0, 1e9))),
        prefill_tokens_by_due=draw(by_due(ANY_COUNT)),
        prefills_by_due=draw(by_due(ANY_COUNT)),
        arriving_tokens_per_s=tuple(map(float, draw(by_due(ANY_COUNT)))),
        arriving_per_s=float(draw(ANY_COUNT)),
        **counts,
        **times_ms,
    )
    coefficients_s = tuple([draw(ANY_COEFFICIENT_S) for _ in FEATURES])
    model = StepModel(coefficients_s=coefficients_s, floor_s=draw(st.sampled_from((1e-12, 1e-3, 1e6))))
    return EngineView(state=drawn, model=model, health=draw(st.sampled_from(ModelHealth)))


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Up to five engines."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5))
    views = tuple(draw(engines(name=name)) for name in names)
    return Fleet(pool=Pool.of(views), age_s=draw(st.floats(0, 10)))


pendings = prompts_by_due(5000).map(lambda prompts: Pending(*prompts))
loads = st.builds(Load, outstanding_requests=st.integers(0, 50), pending=pendings, suspect=st.booleans())
targets = st.one_of(st.none(), st.floats(0.001, 100))
slos = st.builds(Slo, ttft_s=targets, tpot_s=targets, e2e_s=targets)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Requests of any size."""
    most_tokens = draw(st.one_of(st.none(), st.integers(1, 5000)))
    output_tokens = draw(st.integers(1, most_tokens or 500))
    return Ask(prompt_tokens=draw(st.integers(1, 50_000)), output_tokens=output_tokens, most_output_tokens=most_tokens)


def changed(view: EngineView, **changes: object) -> EngineView:
    """The engine in another state."""
    return msgspec.structs.replace(view, state=msgspec.structs.replace(view.state, **changes))

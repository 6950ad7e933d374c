"""For any fleet: only permitted engines are chosen, and more load never makes a first token come sooner."""

import math
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.prism.dispatches import Dispatch, Dispatches, Load
from services.prism.fleet import EngineView, Fleet
from services.prism.foresee import foresee
from services.prism.prompt_size import Ask
from services.prism.route import choose
from shared.engine_state import EngineState
from shared.errors import NotFound, Unavailable
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.steptime import KNEES_TOKENS, Residuals, StepModel
from tests.step_models import step_model as law

MODELS = ("tiny", "large")


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
def engines(draw: st.DrawFn, name: str = "a") -> EngineView:
    blocks_total = draw(st.integers(1, 10_000))
    state = EngineState(
        engine=name,
        url=f"http://{name}",
        model=draw(st.sampled_from(MODELS)),
        executor="emulated",
        hardware_class="A100",
        emulated=True,
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
        decode_seqs=draw(st.integers(0, 512)),
        kv_tokens=draw(st.integers(0, 200_000)),
        waiting_requests=draw(st.integers(0, 500)),
        waiting_prefill_tokens=draw(st.integers(0, 500_000)),
    )
    return EngineView(
        state=state,
        model=draw(step_models()),
        health=draw(st.sampled_from(ModelHealth)),
        forecast_written_at_s=draw(st.one_of(st.floats(-100, 0), st.just(-math.inf))),
    )


loads = st.builds(Load, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50_000), st.booleans())
targets = st.one_of(st.none(), st.floats(0.001, 100))
slos = st.builds(Slo, ttft_s=targets, tpot_s=targets, e2e_s=targets)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    most_tokens = draw(st.one_of(st.none(), st.integers(1, 5000)))
    output_tokens = draw(st.integers(1, most_tokens or 500))
    return Ask(prompt_tokens=draw(st.integers(1, 50_000)), output_tokens=output_tokens, most_output_tokens=most_tokens)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5))
    views = tuple(draw(engines(name)) for name in names)
    return Fleet(engines=views, age_s=draw(st.floats(0, 10)))


@given(
    fleet=fleets(),
    known=st.dictionaries(st.sampled_from("abcdef"), loads),
    ask=asks(),
    slo=slos,
    draw=st.floats(0, 1, exclude_max=True),
    tried=st.frozensets(st.sampled_from("abcdef")),
)
def test_only_an_engine_that_may_have_the_request_is_chosen(
    fleet: Fleet, known: dict[str, Load], ask: Ask, slo: Slo, draw: float, tried: frozenset[str]
) -> None:
    permitted = {
        e.state.engine for e in fleet.engines if e.accepts and e.state.model == "tiny" and e.state.engine not in tried
    }
    try:
        route = choose(fleet, known, ask, slo, model="tiny", draw=draw, tried=tried)
    except (NotFound, Unavailable):
        assert not permitted
        return
    assert route.engine in permitted
    trusted = permitted - {name for name, load in known.items() if load.suspect}
    wanted_tokens = ask.prompt_tokens + (ask.most_output_tokens or 1)
    fitting = {e.state.engine for e in fleet.engines if e.context_tokens >= wanted_tokens}
    if permitted & fitting:
        assert route.engine in fitting
    if trusted & fitting:
        assert route.engine in trusted
    if not fleet.stale:
        assert route.predicted_ttft_s is not None
        assert 0 < route.predicted_ttft_s < math.inf


@given(
    view=engines(),
    load=loads,
    ask=asks(),
    more=st.fixed_dictionaries(
        {
            "decode_seqs": st.integers(0, 100),
            "kv_tokens": st.integers(0, 50_000),
            "waiting_requests": st.integers(0, 100),
            "waiting_prefill_tokens": st.integers(0, 50_000),
            "kv_blocks_free": st.integers(-5000, 0),
        }
    ),
)
def test_more_load_never_makes_the_first_token_come_sooner(
    view: EngineView, load: Load, ask: Ask, more: dict[str, int]
) -> None:
    changes: dict[str, Any] = {name: max(getattr(view.state, name) + added, 0) for name, added in more.items()}
    busier = msgspec.structs.replace(view, state=msgspec.structs.replace(view.state, **changes))
    before = foresee([view], [load], ask, 0.0).ttft_s[0]
    after = foresee([busier], [load], ask, 0.0).ttft_s[0]
    assert after >= before * (1 - 1e-9)


@given(view=engines(), load=loads, ask=asks(), tokens=st.integers(1, 20_000))
def test_what_was_just_sent_never_makes_an_engine_look_faster(
    view: EngineView, load: Load, ask: Ask, tokens: int
) -> None:
    more = Load(load.outstanding_requests + 1, load.pending_requests + 1, load.pending_prompt_tokens + tokens)
    assert foresee([view], [more], ask, 0.0).ttft_s[0] >= foresee([view], [load], ask, 0.0).ttft_s[0] * (1 - 1e-9)


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 3)), max_size=30),
    admitted=st.integers(0, 30),
)
def test_pending_is_never_more_than_outstanding_and_all_ends(
    steps: list[tuple[str, bool, float]], admitted: int
) -> None:
    dispatches, now_s = Dispatches("r"), 0.0
    sent: list[Dispatch] = []
    state = msgspec.structs.replace(STATE, admitted={"r": admitted})
    for engine, ends, later_s in steps:
        now_s += later_s
        if ends and sent:
            dispatches.end(sent.pop(0))
        else:
            sent.append(dispatches.send(engine, 10, now_s))
        load = dispatches.load(state, now_s)
        assert load.pending_requests <= load.outstanding_requests
        assert load.pending_prompt_tokens == 10 * load.pending_requests
        assert load.outstanding_requests == sum(dispatch.engine == "a" for dispatch in sent)
    for dispatch in sent:
        dispatches.end(dispatch)
    assert dispatches.load(state, now_s) == Load()


STATE = EngineState(
    engine="a",
    url="http://a",
    model="tiny",
    executor="emulated",
    hardware_class="A100",
    emulated=True,
    announced_at_s=0.0,
    max_context_tokens=1,
    max_running=1,
    step_tokens=1,
    step_target_ms=1.0,
    kv_blocks_total=1,
    kv_block_tokens=1,
    kv_blocks_free=1,
)

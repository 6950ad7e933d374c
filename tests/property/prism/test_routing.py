"""For any fleet: only permitted engines are chosen, and what is on its way comes to an end."""

import math

from hypothesis import given
from hypothesis import strategies as st

from services.prism.dispatches import Dispatch, Dispatches, Load
from services.prism.fleet import Fleet
from services.prism.prompt_size import Ask
from services.prism.route import choose
from shared.errors import NotFound, Overloaded, Unavailable
from shared.slo import Slo
from tests.property.prism.engines import asks, fleets, loads, slos
from tests.unit.prism.builders import state


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
    except Overloaded:
        assert permitted
        assert slo.promises
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
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 3)), max_size=30),
    admitted=st.integers(0, 30),
)
def test_pending_is_never_more_than_outstanding_and_all_ends(
    steps: list[tuple[str, bool, float]], admitted: int
) -> None:
    dispatches, now_s = Dispatches("r"), 0.0
    sent: list[Dispatch] = []
    announced = state("a", admitted={"r": admitted})
    for engine, ends, later_s in steps:
        now_s += later_s
        if ends and sent:
            dispatches.end(sent.pop(0))
        else:
            sent.append(dispatches.send(engine, 10, now_s, due_in_s=later_s))
        load = dispatches.load(announced, now_s)
        assert load.pending_requests <= load.outstanding_requests
        assert load.pending_prompt_tokens == 10 * load.pending_requests
        assert load.pending.prompt_tokens_by_due == tuple(10 * count for count in load.pending.requests_by_due)
        assert load.outstanding_requests == sum(dispatch.engine == "a" for dispatch in sent)
    for dispatch in sent:
        dispatches.end(dispatch)
    assert dispatches.load(announced, now_s) == Load()

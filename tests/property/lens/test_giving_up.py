"""Whatever answers and prompts there are: giving up keeps more promises than it breaks, and loses nobody."""

from hypothesis import given
from hypothesis import strategies as st

from services.lens.giving_up import give_up_tightest
from services.lens.sequence import Sequence
from services.lens.triage import triage
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, sequence

paces = st.sampled_from((0.02, 0.021, 0.03, 0.05, 0.1))


@st.composite
def prompts(draw: st.DrawFn) -> Sequence:
    slo = Slo(ttft_s=draw(st.floats(0.1, 5)), tpot_s=draw(paces))
    made = sequence(draw(st.integers(1, 300)), 20, slo=slo, arrival_s=draw(st.floats(0, 2)))
    made.tenant = draw(st.sampled_from("ab"))
    return made


@given(st.lists(paces, min_size=1, max_size=12), st.lists(prompts(), max_size=40), st.floats(0, 3), st.floats(0, 0.03))
def test_giving_up_keeps_more_promises_than_it_breaks_and_loses_nobody(answer_paces, waiting, starts_s, decode_s):
    answers = [_answer(pace_s) for pace_s in answer_paces]

    def tokens_per_s(pace_s: float) -> float:
        tokens: float = max((pace_s - decode_s) / 0.0005, 1.0)
        return tokens / pace_s

    tightest_s = min(answer.pace_s for answer in answers)
    before = triage(waiting, starts_s=starts_s, tokens_per_s=tokens_per_s(tightest_s), served_tokens={})
    found = give_up_tightest(
        answers,
        waiting,
        kept=len(before.on_time),
        tokens_per_s=tokens_per_s,
        starts_s=starts_s,
        served_tokens={},
    )
    if found is None:
        return
    assert len(found.prompts.on_time) > len(before.on_time) + len(found.answers)
    assert sorted(map(id, waiting)) == sorted(map(id, (*found.prompts.on_time, *found.prompts.relegated)))
    assert found.answers <= set(answers)
    given_up_s = max((s.pace_s for s in found.answers), default=0.0)
    assert given_up_s < min(
        (s.pace_s for s in (*answers, *found.prompts.on_time) if s not in found.answers), default=9.0
    )


def _answer(pace_s: float) -> Sequence:
    return in_engine(sequence(4, 20, slo=Slo(ttft_s=9.0, tpot_s=pace_s)), 4)

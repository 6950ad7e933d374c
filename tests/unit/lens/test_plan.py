from services.lens.plan import Allotment, PlanLimits, plan_step, shape_of
from services.lens.sequence import Sequence
from tests.step_models import step_model
from tests.unit.lens.builders import model, sequence

LIMITS = PlanLimits(max_step_tokens=32, least_prefill_tokens=2, target_s=0.02)  # room for 10 tokens


def decoding(prompt_tokens: int = 4) -> Sequence:
    in_engine = sequence(prompt_tokens)
    in_engine.slot = 0
    in_engine.advance(prompt_tokens)
    return in_engine


def plan(running: list[Sequence], waiting: list[Sequence], limits: PlanLimits = LIMITS) -> tuple[Allotment, ...]:
    return plan_step(running, waiting, model=model(), limits=limits)


def test_nothing_to_run_is_an_empty_plan():
    assert plan([], []) == ()


def test_decodes_go_first_and_prefill_fills_the_rest():
    decode, prefill = decoding(), sequence(20)
    assert plan([decode], [prefill]) == (Allotment(decode, 1, False), Allotment(prefill, 9, True))


def test_short_prompts_share_a_step():
    first, second, third = sequence(4), sequence(4), sequence(4)
    assert [a.num_tokens for a in plan([], [first, second, third])] == [4, 4, 2]


def test_many_short_prompts_together_keep_the_target_too():
    costly_sequences = step_model(base=0.01, per_sequence=0.004, per_token=0.001)
    allotments = plan_step(
        [], [sequence(2) for _ in range(20)], model=costly_sequences, limits=LIMITS._replace(target_s=0.05)
    )
    assert len(allotments) == 6  # 10 ms + 6 · (4 + 2) ms; one token more would make it 51 ms


def test_a_started_prefill_goes_before_those_that_wait():
    started, waiting = sequence(20), sequence(4)
    started.slot = 0
    started.advance(5)
    assert plan([started], [waiting]) == (Allotment(started, 10, True),)


def test_a_sequence_that_has_drawn_all_it_may_is_left_out():
    done = sequence(4, max_output_tokens=1)
    done.slot = 0
    done.advance(4)
    assert plan([done], []) == ()


def test_decodes_beyond_what_a_step_holds_wait():
    decodes = [decoding() for _ in range(5)]
    assert len(plan(decodes, [], LIMITS._replace(max_step_tokens=3))) == 3


def test_the_shape_counts_what_is_read_and_what_attends():
    started = sequence(20)
    started.slot = 0
    started.advance(5)
    shape = shape_of([Allotment(decoding(), 1, False), Allotment(started, 10, True)])
    assert shape == (2, 11, 9, 10 * (5 + 5.0), 1)

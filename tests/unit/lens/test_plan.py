from services.lens.plan import decodes_of, shape_of
from services.lens.sequence import Allotment
from tests.unit.lens.builders import in_engine, sequence


def test_a_sequence_that_has_drawn_all_it_may_is_left_out():
    done, answering = in_engine(sequence(4, max_output_tokens=1), 4), in_engine(sequence(4), 4)
    assert decodes_of([done, answering], most=10) == (Allotment(answering, 1, False),)


def test_decodes_beyond_what_a_step_holds_wait():
    assert len(decodes_of([in_engine(sequence(4), 4) for _ in range(5)], most=3)) == 3


def test_the_shape_counts_what_is_read_and_what_attends():
    started = in_engine(sequence(20), 5)
    shape = shape_of([Allotment(in_engine(sequence(4), 4), 1, False), Allotment(started, 10, True)])
    assert shape == (2, 11, 9, 10 * (5 + 5.0), 1)

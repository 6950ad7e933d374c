from services.forecaster.engine_model import Observation, Position
from services.forecaster.intake import Reason, SetAside
from services.forecaster.learner import Lesson
from services.forecaster.outbox import BETWEEN_FORECASTS_S, BETWEEN_SAVES_S, MOST_STEPS_A_SAVE, Outbox, Portion
from services.forecaster.sharing import Lease

LEASE = Lease(0, 1)
NOW_S = 100.0


def lesson(engine: str = "a", step: int = 1, lease: Lease = LEASE, num_steps: int = 1) -> Lesson:
    seen = tuple(Observation(step + number, 0.01, 0.011) for number in range(num_steps))
    return Lesson(lease, Position("s", step), engine, is_news=True, observations=seen)


def outbox(*leases: Lease) -> Outbox:
    opened = Outbox()
    for lease in leases or (LEASE,):
        opened.open(lease, {}, NOW_S)
    return opened


def taken(of: Outbox, after_s: float) -> list[Portion]:
    """What is due; forecasts are written as if they were."""
    portions = of.take(NOW_S + after_s)
    for portion in portions:
        of.wrote(portion.lease.partition, dict.fromkeys(portion.forecasts, b"{}"))
    return portions


def test_a_forecast_goes_out_at_once_and_the_model_later():
    box = outbox()
    box.note(lesson())
    (portion,) = taken(box, 0.0)
    assert portion == Portion(LEASE, ("a",), {}, None)
    assert not box.has_more(NOW_S)
    assert taken(box, 0.1) == []
    assert box.has_more(NOW_S + BETWEEN_SAVES_S)
    (portion,) = taken(box, BETWEEN_SAVES_S)
    assert portion.save is not None
    assert portion.save.engines == ("a",)
    assert [seen.step for seen in portion.save.steps["a"]] == [1]
    assert portion.restated == {"a": b"{}"}, "a save takes the forecasts along, which alone are not kept on the disk"


def test_an_engine_has_one_forecast_in_a_while_and_others_do_not_wait_for_it():
    box = outbox()
    box.note(lesson("a", 1))
    taken(box, 0.0)
    box.note(lesson("a", 2))
    box.note(lesson("b", 3))
    (portion,) = taken(box, BETWEEN_FORECASTS_S / 2)
    assert portion.forecasts == ("b",)
    assert box.has_more(NOW_S)
    (portion,) = taken(box, BETWEEN_FORECASTS_S + 1e-6)
    assert portion.forecasts == ("a",)


def test_saves_are_spread_over_partitions_and_none_is_forgotten():
    leases = [Lease(partition, 1) for partition in range(32)]
    box = outbox(*leases)
    for lease in leases:
        box.note(lesson(f"engine-{lease.partition}", lease=lease))
    at_once = [portion.lease for portion in taken(box, BETWEEN_SAVES_S) if portion.save]
    assert len(at_once) == 2
    saved = {*at_once, *(p.lease for turn in range(15) for p in taken(box, BETWEEN_SAVES_S + turn * 0.02) if p.save)}
    assert saved == set(leases)
    assert taken(box, BETWEEN_SAVES_S + 0.4) == []


def test_what_was_only_set_aside_moves_the_position_and_makes_no_forecast():
    box = outbox()
    aside = SetAside(Reason.UNREADABLE, "no JSON", b"x")
    box.note(Lesson(LEASE, Position("s", 9), "a", set_aside=(aside,)))
    assert not box.has_more(NOW_S)
    (portion,) = taken(box, BETWEEN_SAVES_S)
    assert portion.save is not None
    assert portion.save.engines == ()
    assert [(placed.engine, placed.sequence, placed.set_aside) for placed in portion.save.set_aside] == [
        ("a", 9, aside)
    ]


def test_steps_of_an_absent_redis_are_kept_up_to_a_bound():
    box = outbox()
    for step in range(1, 3 * MOST_STEPS_A_SAVE, 50):
        box.note(lesson(step=step, num_steps=50))
    (portion,) = taken(box, BETWEEN_SAVES_S)
    assert portion.save is not None
    assert len(portion.save.steps["a"]) == MOST_STEPS_A_SAVE


def test_what_redis_has_lost_is_written_again_word_for_word_under_the_new_lease():
    box = Outbox()
    box.open(LEASE, {"idle": b"old"}, NOW_S)
    renewed = Lease(0, 2)
    box.restate(renewed, ("idle",))
    (portion,) = taken(box, 0.0)
    assert portion.lease == renewed
    assert portion.restated == {"idle": b"old"}
    assert portion.save is not None
    assert portion.save.engines == ("idle",)


def test_handing_over_takes_everything_due_or_not():
    box = outbox()
    box.note(lesson())
    taken(box, 0.0)
    box.note(lesson(step=2))
    portion = box.take_all(0, NOW_S + 0.001)
    assert portion.forecasts == ("a",)
    assert portion.save is not None
    assert [seen.step for seen in portion.save.steps["a"]] == [1, 2]
    box.close(0)
    assert taken(box, 10.0) == []

"""Whatever is reserved, admitted, refused, released or forgotten, in any order: totals are what is on its way, and end at nothing."""

from hypothesis import given
from hypothesis import strategies as st

from loadgen.simulate.reservations import Reservations
from services.prism.dispatches import Dispatch
from services.prism.pending import NOTHING, Pending, interval_of
from shared.names import RESERVATION_LIFETIME_S

moves = st.one_of(
    st.tuples(st.just("reserve"), st.sampled_from(["r1", "r2", "r3"]), st.integers(1, 1000), st.floats(0, 30)),
    st.tuples(st.just("hear"), st.integers(0, 30), st.just(0), st.just(0.0)),
    st.tuples(st.just("release"), st.integers(0, 30), st.just(0), st.just(0.0)),
    st.tuples(st.just("announce"), st.just(0), st.just(0), st.just(0.0)),
    st.tuples(st.just("wait"), st.just(0), st.just(0), st.floats(0, 3)),
)


@given(st.lists(moves, max_size=60))
def test_totals_are_what_is_on_its_way_and_end_at_nothing(history: list[tuple[str, str | int, int, float]]) -> None:
    reservations, now_s = Reservations(), 0.0
    on_its_way: dict[str, tuple[tuple[int, int], float]] = {}
    heard: list[str] = []
    count = 0
    for move, who, size, in_s in history:
        names = list(on_its_way)
        chosen = names[who % len(names)] if names and isinstance(who, int) else None
        match move:
            case "reserve":
                count += 1
                dispatch = Dispatch("e", count, size, now_s, interval_of(in_s))
                on_its_way[dispatch.name(str(who))] = (dispatch.interval, size), now_s
                reservations.reserve(dispatch, str(who), now_s)
            case "hear" if chosen:  # admitted or refused, in whatever order they arrive
                heard.append(chosen)
            case "release" if chosen:  # even where its engine has heard of it too
                reservations.release("e", chosen)
                del on_its_way[chosen]
            case "announce":
                reservations.settle("e", heard, now_s)
                settled, heard = heard, []
                on_its_way = {
                    name: (own, at_s)
                    for name, (own, at_s) in on_its_way.items()
                    if name not in settled and now_s - at_s < RESERVATION_LIFETIME_S
                }
            case "wait":
                now_s += in_s
        expected = Pending.of(own for own, _ in on_its_way.values())
        assert reservations.totals.get("e", NOTHING) == expected
    # Every router may be dead by now, and nothing have been heard of.
    reservations.settle("e", (), now_s + RESERVATION_LIFETIME_S + 1)
    assert not reservations.totals

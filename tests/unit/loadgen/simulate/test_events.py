from functools import partial

from loadgen.simulate.events import Events


def test_what_happens_is_in_order_of_time_and_then_of_adding():
    events = Events()
    seen: list[tuple[float, str]] = []

    def happen(name: str) -> None:
        seen.append((events.now_s, name))

    for at_s, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        events.at(at_s, partial(happen, name))
    events.run(is_over=lambda: False)
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c")]


def test_it_ends_when_it_is_over_though_more_was_to_happen():
    events = Events()
    seen: list[float] = []

    def tick() -> None:
        seen.append(events.now_s)
        events.at(events.now_s + 1.0, tick)

    events.at(0.0, tick)
    events.run(is_over=lambda: len(seen) == 3)
    assert seen == [0.0, 1.0, 2.0]

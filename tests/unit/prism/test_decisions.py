"""A request gets an engine and room on it, waits where that soon helps, and leaves nothing behind where it gets none."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
import pytest

from services.prism.decisions import HELD_SHARE, Decisions
from services.prism.dispatches import Dispatch, Dispatches, Load
from services.prism.fleet import EngineView, Fleet, Pool
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.models_of_late import MODELS_NOTED_EVERY_S, MOST_MODELS, OF_LATE_S, ModelsOfLate
from services.prism.pending import NOTHING, Pending
from services.prism.policies import least_requests
from services.prism.policy import Pick, Policy, Question, Reason, Refusal
from services.prism.prompt_size import Ask
from services.prism.route import NotNow, Route
from shared.errors import NotFound, Overloaded, Unavailable
from shared.slo import Slo
from shared.standing import Standing
from tests.servers import eventually
from tests.unit.prism.builders import MODEL, engine, pending, state

PROMISED = Slo(ttft_s=2.0)
HELD_S = HELD_SHARE * 2.0
TWO = (engine("a"), engine("b"))


class KnownFleet:
    """As it is told to be."""

    def __init__(self, *engines: EngineView) -> None:
        self.fleet = Fleet(pool=Pool.of(engines), reserved={}, age_s=0.0)
        self.is_slow = False

    async def read(self) -> Fleet:
        if self.is_slow:
            await asyncio.sleep(0.1)
        return self.fleet


class Room:
    """Where room is reserved, and what others have reserved when that is looked at."""

    def __init__(self, fleet: KnownFleet) -> None:
        self.others: dict[str, Pending] = {}
        """Nobody has read of them yet."""
        self.held: list[Dispatch] = []
        self.replaced: list[Dispatch] = []
        self.problem: BaseException | None = None
        self._fleet = fleet

    async def reserve(self, dispatch: Dispatch, instead_of: Dispatch | None = None) -> Pending | None:
        if self.problem is not None:
            raise self.problem
        if instead_of is not None:
            self.held.remove(instead_of)
            self.replaced.append(instead_of)
        self.held.append(dispatch)
        total = self.others.get(dispatch.engine, NOTHING)
        own = Pending.of((held.interval, held.prompt_tokens) for held in self.held if held.engine == dispatch.engine)
        self._fleet.fleet = msgspec.structs.replace(
            self._fleet.fleet, reserved={**self.others, dispatch.engine: total.plus(own)}
        )
        return total.plus(own)

    def release(self, dispatch: Dispatch) -> None:
        if dispatch in self.held:
            self.held.remove(dispatch)


class Saying:
    """A policy that says one thing after the other, and the last for ever."""

    def __init__(self, *answers: Pick | Refusal) -> None:
        self._answers = list(answers)
        self.questions: list[Question] = []

    def say(self, answer: Pick | Refusal) -> None:
        """From now on."""
        self._answers = [answer]

    def __call__(self, question: Question) -> Pick | Refusal:
        self.questions.append(question)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


FIRST = Pick(0, Reason.POLICY)
SOON, LATE = Refusal(0.1, hopeless=False), Refusal(HELD_S + 0.1, hopeless=False)


class Replica:
    """Its decisions, and what they rest on."""

    def __init__(self, policy: Policy = least_requests, engines: Sequence[EngineView] = TWO) -> None:
        self.fleet = KnownFleet(*engines)
        self.room = Room(self.fleet)
        self.dispatches = Dispatches("r")
        self.decisions = Decisions(
            self.fleet, self.dispatches, Metrics(), reservations=self.room, policy=policy, draw=lambda: 0.5
        )

    @property
    def nothing_is_left(self) -> bool:
        loads = [self.dispatches.load(view.state, time.monotonic(), NOTHING) for view in self.fleet.fleet.engines]
        return not self.room.held and all(load == Load() for load in loads)


def intake(*, model: str = MODEL, slo: Slo = PROMISED, priority: int = 0, waited_s: float = 0.0) -> Intake:
    return Intake(
        path="",
        body=b"",
        headers={},
        model=model,
        stream=False,
        ask=Ask(prompt_tokens=100, output_tokens=10),
        slo=slo,
        standing=Standing(priority=priority),
        arrived_at_s=time.monotonic() - waited_s,
    )


async def test_room_is_reserved_where_the_request_goes_for_when_it_is_due() -> None:
    replica = Replica(Saying(FIRST))
    decision = await replica.decisions.decide(intake(waited_s=1.5))
    assert (decision.route.engine, replica.room.held) == ("a", [decision.dispatch])
    assert (decision.dispatch.prompt_tokens, decision.dispatch.interval) == (100, 1)  # half a second is left
    replica.decisions.let_go(decision.dispatch)
    assert replica.nothing_is_left


async def test_the_policy_is_asked_with_what_is_left_of_the_targets() -> None:
    policy = Saying(FIRST)
    await Replica(policy).decisions.decide(intake(waited_s=1.5))
    assert policy.questions[0].slo.ttft_s == pytest.approx(0.5, abs=0.2)


async def test_engines_that_failed_it_already_are_not_chosen() -> None:
    replica = Replica()
    assert (await replica.decisions.decide(intake(), frozenset("a"))).route.engine == "b"
    with pytest.raises(Unavailable):
        await replica.decisions.decide(intake(), frozenset("ab"))
    with pytest.raises(NotFound):
        await replica.decisions.decide(intake(model="other"))


async def test_where_others_took_an_engine_meanwhile_another_is_chosen_once() -> None:
    replica = Replica(Saying(FIRST, Pick(1, Reason.POLICY)))
    replica.room.others = {"a": pending(9, 900)}
    decision = await replica.decisions.decide(intake())
    assert (decision.route.engine, replica.room.held) == ("b", [decision.dispatch])
    assert [dispatch.engine for dispatch in replica.room.replaced] == ["a"]
    assert replica.dispatches.load(engine("a").state, time.monotonic(), NOTHING) == Load()


async def test_where_it_is_still_the_best_the_request_keeps_its_place() -> None:
    replica = Replica(Saying(FIRST))
    replica.room.others = {"a": pending(9, 900)}
    decision = await replica.decisions.decide(intake())
    assert (decision.route.engine, replica.room.held, replica.room.replaced) == ("a", [decision.dispatch], [])


@pytest.mark.parametrize("problem", [RuntimeError("broken"), asyncio.CancelledError()])
async def test_where_reserving_fails_nothing_is_left_behind(problem: BaseException) -> None:
    replica = Replica()
    replica.room.problem = problem
    with pytest.raises(type(problem)):
        await replica.decisions.decide(intake())
    assert replica.nothing_is_left


async def test_where_no_other_engine_can_be_chosen_any_more_nothing_is_left_behind() -> None:
    replica = Replica(Saying(FIRST, Refusal(LATE.retry_after_s, hopeless=False)))
    replica.room.others = {"a": pending(9, 900)}
    with pytest.raises(NotNow):
        await replica.decisions.decide(intake())
    assert replica.nothing_is_left


async def test_a_request_that_can_be_served_soon_waits_and_is_served() -> None:
    policy = Saying(SOON, SOON, SOON, FIRST)
    began_s = time.monotonic()
    decision = await Replica(policy).decisions.decide(intake())
    assert decision.route.engine == "a"
    assert len(policy.questions) == 4
    assert 0.1 < time.monotonic() - began_s < HELD_S + 1.0


@pytest.mark.parametrize(
    ("refusal", "waited_s", "expected"),
    [
        (LATE, 0.0, NotNow),
        (SOON, HELD_S, NotNow),  # it has waited long enough, wherever that was
        (Refusal(0.1, hopeless=True), 0.0, Overloaded),
    ],
)
async def test_a_request_that_waiting_would_not_help_is_refused_at_once(
    refusal: Refusal, waited_s: float, expected: type[Overloaded]
) -> None:
    policy = Saying(refusal, FIRST)
    replica = Replica(policy)
    with pytest.raises(Overloaded) as raised:
        await replica.decisions.decide(intake(waited_s=waited_s))
    assert type(raised.value) is expected
    assert len(policy.questions) == 1
    assert replica.nothing_is_left


async def test_who_waited_in_vain_is_refused_in_time() -> None:
    replica = Replica(Saying(SOON))
    began_s = time.monotonic()
    with pytest.raises(NotNow) as raised:
        await replica.decisions.decide(intake())
    assert HELD_S - 0.05 <= time.monotonic() - began_s < HELD_S + 1.0
    assert raised.value.retry_after_s == SOON.retry_after_s
    assert replica.nothing_is_left


async def test_of_those_who_wait_the_one_of_higher_priority_is_served_first() -> None:
    policy = Saying(SOON)
    replica = Replica(policy)
    served: list[int] = []

    async def decide(priority: int) -> None:
        await replica.decisions.decide(intake(priority=priority, slo=Slo(ttft_s=40.0)))
        served.append(priority)

    tasks = [asyncio.create_task(decide(priority)) for priority in (0, 0, 0, 7)]
    await eventually(lambda: len(policy.questions) >= 2 * len(tasks))
    replica.fleet.is_slow = True  # so that those who wait for a turn stand in line
    asked = len(policy.questions)
    await eventually(lambda: len(policy.questions) > asked)
    policy.say(FIRST)
    await asyncio.gather(*tasks)
    assert served.index(7) <= 1  # whoever has a turn just then may be before it


async def test_what_would_be_decided_is_told_of_each_engine_and_nothing_is_done() -> None:
    replica = Replica(engines=(engine("a", decode_seqs=3), engine("b"), engine("c", draining=True)))
    foretold = await replica.decisions.foretell(intake())
    assert isinstance(foretold.choice, Route)
    assert foretold.choice.engine == "b"
    told = {name: type(outlook) for name, outlook in foretold.engines.items()}
    assert told == {"a": Route, "b": Route, "c": Unavailable}
    assert replica.nothing_is_left
    refused = await Replica(Saying(SOON)).decisions.foretell(intake())
    assert isinstance(refused.choice, NotNow)


async def test_a_model_whose_engine_restarts_is_away_and_not_unknown() -> None:
    """A client tries again after a 503, and gives up for good after a 404."""
    replica = Replica(engines=(engine("a"), _of_model("other")))
    await replica.decisions.decide(intake())
    replica.fleet.fleet = msgspec.structs.replace(replica.fleet.fleet, pool=replica.fleet.fleet.pool.but({"a"}))
    with pytest.raises(Unavailable) as raised:
        await replica.decisions.decide(intake())
    assert raised.value.code == "engines_away"
    with pytest.raises(NotFound):
        await replica.decisions.decide(intake(model="never there"))


def test_models_are_remembered_for_a_while_and_no_more_than_so_many() -> None:
    models = ModelsOfLate()
    models.note(Fleet(pool=Pool.of((engine("a"), _of_model("left")))), 0.0)
    models.note(Fleet(pool=Pool.of((engine("a"),))), OF_LATE_S)
    assert set(models.all) == {MODEL, "left"}
    models.note(Fleet(pool=Pool.of((engine("a"),))), OF_LATE_S + MODELS_NOTED_EVERY_S)
    assert set(models.all) == {MODEL}
    crowd = [_of_model(f"m{number}") for number in range(MOST_MODELS)]
    models.note(Fleet(pool=Pool.of(tuple(crowd))), OF_LATE_S + 2 * MODELS_NOTED_EVERY_S)
    assert len(models.all) == MOST_MODELS
    assert MODEL not in models.all


def _of_model(model: str) -> EngineView:
    return EngineView(state=state(model, model=model))

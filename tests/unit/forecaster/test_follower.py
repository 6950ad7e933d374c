import pytest

from services.forecaster.follower import ASK_BELOW, MOST_ASKED, SILENCE_S, Delivery, Follower
from services.forecaster.sharing import Lease

REPLY = "$JS.ACK.SYNERGY_TELEMETRY.forecaster-3-1-ab.1.363.4.1795517866007782991.196"


def follower() -> Follower:
    return Follower(Lease(3, 1), "2026-01-01", "forecaster-3-1-ab", now_s=0.0)


def delivery(number: int, num_pending: int = 0) -> Delivery:
    return Delivery("forecaster-3-1-ab", 100 + number, number, num_pending)


@pytest.mark.parametrize("reply", [REPLY, REPLY.replace("ACK.", "ACK.hub.ACCOUNT.") + ".random"])
def test_a_delivery_is_read_from_either_form_of_reply_subject(reply):
    assert Delivery.of(reply) == Delivery("forecaster-3-1-ab", 363, 4, 196)


def test_more_is_asked_for_when_half_has_come():
    followed = follower()
    assert followed.to_ask() == MOST_ASKED
    assert followed.to_ask() == 0
    for number in range(1, MOST_ASKED - ASK_BELOW + 2):
        assert followed.to_ask() == 0
        assert followed.accept(delivery(number), 0.0)
    assert followed.to_ask() == MOST_ASKED - ASK_BELOW + 1


def test_a_request_that_timed_out_is_made_again_for_what_is_left_of_it():
    followed = follower()
    followed.to_ask()
    followed.accept(delivery(1), 0.0)
    followed.note_status({"Status": "408", "Nats-Pending-Messages": "255"}, 30.0)
    assert followed.to_ask() == MOST_ASKED
    assert followed.problem is None


def test_a_message_lost_on_the_way_ends_trust_in_the_consumer():
    followed = follower()
    assert followed.accept(delivery(1), 0.0)
    assert not followed.accept(delivery(3), 0.0)
    assert followed.problem == "messages lost on the way"
    assert not followed.accept(delivery(2), 0.0)


def test_a_consumer_that_is_gone_says_so_or_is_silent():
    told, silent = follower(), follower()
    told.note_status({"Status": "409", "Description": "Consumer Deleted"}, 0.0)
    assert told.problem == "Consumer Deleted"
    silent.note_status({"Status": "100", "Description": "Idle Heartbeat"}, 1.0)
    silent.note_silence(1.0 + SILENCE_S)
    assert silent.problem is None
    silent.note_silence(1.1 + SILENCE_S)
    assert silent.problem == "silent"

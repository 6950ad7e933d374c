import msgspec
import pytest

from services.forecaster.intake import MOST_BYTES, MOST_BYTES_KEPT, MOST_CHARACTERS, Reason, read
from shared.telemetry import IdleReport, Telemetry
from shared.wire import encode
from tests.unit.forecaster.telemetry import mixed_step

MESSAGE = Telemetry(engine="a", lens="x", sequence=1, reports=(mixed_step(1), IdleReport(idle_s=1.0), mixed_step(2)))


def damaged(number: int, **fields: object) -> bytes:
    """The message with fields of one report replaced."""
    message = msgspec.json.decode(encode(MESSAGE))
    message["reports"][number].update(fields)
    return msgspec.json.encode(message)


def test_a_good_message_is_read_whole():
    reading = read("a", encode(MESSAGE))
    assert reading.telemetry == MESSAGE
    assert not reading.set_aside


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[" * 5000,
        encode(MESSAGE)[:-1] + b',"x":' + b"[" * 1500 + b"]" * 1500 + b"}",
        encode(MESSAGE).replace(b'"v":1', b'"v":99'),
        encode(MESSAGE)[:-3],
    ],
    ids=["empty", "no text", "no fields", "nested", "nested in a field that nobody knows", "another version", "cut"],
)
def test_what_is_no_message_is_set_aside_whole(data):
    telemetry, (aside,) = read("a", data)
    assert telemetry is None
    assert aside.reason is Reason.UNREADABLE
    assert aside.data == data[:MOST_BYTES_KEPT]


def test_not_a_number_is_no_json():
    telemetry, (aside,) = read("a", encode(MESSAGE).replace(b'"idle_s":1.0', b'"idle_s":NaN'))
    assert telemetry is None
    assert aside.reason is Reason.UNREADABLE


@pytest.mark.parametrize("fields", [{"duration_ms": "long"}, {"type": "other"}, {"batch_size": 1.5}, {"step": None}])
def test_a_bad_report_sets_aside_itself_alone(fields):
    telemetry, (aside,) = read("a", damaged(0, **fields))
    assert telemetry is not None
    assert telemetry.reports == MESSAGE.reports[1:]
    assert aside.reason is Reason.BAD_REPORT
    assert next(iter(fields)).encode() in aside.data


def test_a_message_on_the_subject_of_another_engine_is_set_aside():
    telemetry, (aside,) = read("b", encode(MESSAGE))
    assert telemetry is None
    assert aside.reason is Reason.OTHER_ENGINE
    assert "'a'" in aside.problem


def test_a_very_long_message_is_not_even_decoded():
    telemetry, (aside,) = read("a", b" " * MOST_BYTES + encode(MESSAGE))
    assert telemetry is None
    assert aside.reason is Reason.TOO_LARGE
    assert len(aside.data) == MOST_BYTES_KEPT


@pytest.mark.parametrize("sequence", [0, -1, 10**20])
def test_a_message_number_that_no_lens_counts_to_is_set_aside(sequence):
    telemetry, (aside,) = read("a", encode(msgspec.structs.replace(MESSAGE, sequence=sequence)))
    assert telemetry is None
    assert str(sequence) in aside.problem


def test_a_report_nested_beyond_what_can_be_decoded_sets_aside_itself_alone():
    nested = b"[" * 1500 + b"]" * 1500
    data = encode(MESSAGE).replace(b'"idle_s":1.0', b'"idle_s":1.0,"x":' + nested)
    reading = read("a", data)
    assert all(aside.reason in (Reason.UNREADABLE, Reason.BAD_REPORT) for aside in reading.set_aside)
    assert reading.set_aside


@pytest.mark.parametrize("field", ["lens", "kind"])
def test_a_name_as_long_as_a_book_is_set_aside(field):
    telemetry, (aside,) = read("a", encode(msgspec.structs.replace(MESSAGE, **{field: "x" * 100_000})))
    assert telemetry is None
    assert aside.problem == f"{field} has 100000 characters; at most {MOST_CHARACTERS}"


def test_what_is_told_of_a_problem_is_short():
    _, (aside,) = read("a", encode(msgspec.structs.replace(MESSAGE, engine="x" * 100_000)))
    assert len(aside.problem) == MOST_CHARACTERS

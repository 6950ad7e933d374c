"""One partition followed by one consumer: what may be asked for, what came, and whether the consumer can be relied on. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from services.forecaster.sharing import Lease

MOST_ASKED = 256
"""Messages on their way or in hand, a partition; all of them fit in memory, however many partitions."""
ASK_BELOW = 128
HEARTBEAT_S = 1.0
"""The broker gives a sign of life so often while a request waits, if nothing else."""
SILENCE_S = 3.0
"""Beyond, the consumer is taken for lost; a broker that crashed does not say so."""
REQUEST_S = 30.0

_IDLE = "100"
_TIMED_OUT = "408"
_PENDING = "Nats-Pending-Messages"


class Delivery(NamedTuple):
    """What JetStream says of a message in its reply subject."""

    consumer: str
    stream_sequence: int
    consumer_sequence: int
    num_pending: int
    """Messages of the consumer that follow."""

    @classmethod
    def of(cls, reply: str) -> "Delivery":
        """From `$JS.ACK.[domain.account.]stream.consumer.delivered.stream seq.consumer seq.time.pending[.random]`."""
        tokens = reply.split(".")
        first = 2 if len(tokens) == 9 else 4
        _stream, consumer, _delivered, stream_sequence, consumer_sequence, _time, pending = tokens[first : first + 7]
        return cls(consumer, int(stream_sequence), int(consumer_sequence), int(pending))


class Follower:
    """Counts what one consumer brings.

    Attributes:
        lease: under which the partition is followed.
        stream: when the stream was created that it is a consumer of.
        consumer: its name, which no other consumer ever has.
        num_pending: messages that follow the latest one.
        problem: why the consumer cannot be relied on any more; None while it can.
    """

    def __init__(self, lease: Lease, stream: str, consumer: str, now_s: float) -> None:
        self.lease = lease
        self.stream = stream
        self.consumer = consumer
        self.num_pending = 0
        self.problem: str | None = None
        self._asked = 0
        self._expected = 1
        self._heard_at_s = now_s

    def to_ask(self) -> int:
        """How many messages to ask for now, 0 for none; they count as asked for."""
        if self._asked >= ASK_BELOW:
            return 0
        more = MOST_ASKED - self._asked
        self._asked = MOST_ASKED
        return more

    def accept(self, delivery: Delivery, now_s: float) -> bool:
        """Count a message; False where it is not the next one, and then nothing of this consumer is of use."""
        self._heard_at_s = now_s
        if self.problem is None and delivery.consumer_sequence != self._expected:
            self.problem = "messages lost on the way"
        if self.problem is not None:
            return False
        self._expected += 1
        self._asked -= 1
        self.num_pending = delivery.num_pending
        return True

    def note_status(self, headers: Mapping[str, str], now_s: float) -> None:
        """The broker said something other than a message."""
        self._heard_at_s = now_s
        status = headers.get("Status", "")
        if status == _TIMED_OUT:
            self._asked -= int(headers.get(_PENDING, self._asked))
        elif status != _IDLE and self.problem is None:
            self.problem = headers.get("Description") or f"status {status}"

    def note_silence(self, now_s: float) -> None:
        """Look whether the consumer was silent for too long."""
        if self.problem is None and now_s - self._heard_at_s > SILENCE_S:
            self.problem = "silent"

"""What an engine's lens has published of its steps, read again from the stream."""

from collections.abc import Callable, Sequence

import nats

from shared.names import TELEMETRY_STREAM, stored_telemetry_subject
from shared.telemetry import Telemetry
from shared.wire import decode

ANSWERS_WITHIN_S = 10.0


async def read_telemetry(nats_url: str, engine: str, wanted: Callable[[float], bool]) -> Sequence[Telemetry]:
    """An engine's messages, in their order.

    Args:
        wanted: whether to keep those that came to the broker at this time, by the wall clock.

    Raises:
        nats.errors.Error: the broker has none, or does not answer.
    """
    connection = await nats.connect(nats_url)
    try:
        subscription = await connection.jetstream().subscribe(
            stored_telemetry_subject(engine), stream=TELEMETRY_STREAM, ordered_consumer=True
        )
        messages: list[Telemetry] = []
        while True:
            message = await subscription.next_msg(ANSWERS_WITHIN_S)
            if wanted(message.metadata.timestamp.timestamp()):
                messages.append(decode(message.data, Telemetry))
            if message.metadata.num_pending == 0:
                return messages
    finally:
        await connection.close()

"""An answer in the making: tokens from the step loop to whoever reads them, and what became of the request."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from services.lens.admission import engine_away
from services.lens.sequence import Sequence
from shared.errors import EngineFailed
from shared.slo import tpot_s
from shared.telemetry import Outcome, RequestReport


class Foreseen(NamedTuple):
    """What the router foresaw for the request, where one did."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None


class Generation:
    """The tokens of a sequence as they come back from the engine. The loop never waits for who reads them: they stay where they are."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.tokens_read = 0
        self.begun = False
        """Whether the client has been sent a part of the answer; from then on no other engine can give it."""
        self._handed_back = False
        self._closed = False
        self._first_came_s: float | None = None
        self._last_came_s = 0.0
        self._first_read_s: float | None = None
        """When the first token came, once it has been read."""
        self._last_read_s: float | None = None
        """And the last; of those read at once, the last that was there."""
        self._news = asyncio.Event()

    @property
    def has_unread(self) -> bool:
        """Whether a token is there that has not been read."""
        return self.tokens_read < len(self.sequence.output_ids)

    def push(self, now_s: float) -> None:
        """A token of the sequence has come back."""
        self._first_came_s = now_s if self._first_came_s is None else self._first_came_s
        self._last_came_s = now_s
        self._news.set()

    def close(self) -> None:
        """No token follows; the sequence's outcome says why."""
        self._closed = True
        self._news.set()

    def hand_back(self) -> None:
        """The engine is away, and another shall answer: what has not been read is not worth reading."""
        self._handed_back = True
        self.close()

    async def __aiter__(self) -> AsyncIterator[int]:
        """The tokens, to the end.

        Raises:
            EngineFailed: the engine could not finish the answer.
            Unavailable: it was lost before the answer had begun.
        """
        while not self._handed_back:
            if self.has_unread:
                token_id = self.sequence.output_ids[self.tokens_read]
                if self.tokens_read == 0:
                    self._first_read_s = self._first_came_s
                self.tokens_read += 1
                self._last_read_s = self._last_came_s
                yield token_id
            elif self._closed:
                break
            else:
                self._news.clear()
                await self._news.wait()
        if self._handed_back:
            raise engine_away()
        if self.sequence.outcome is Outcome.FAILED:
            raise EngineFailed("the engine failed while answering")

    def report(self, outcome: Outcome, foreseen: Foreseen, now_s: float) -> RequestReport:
        """What was promised, foreseen and done, counting the tokens that were read."""
        sequence = self.sequence
        e2e_s = (now_s if self._last_read_s is None else self._last_read_s) - sequence.arrival_s
        ttft_s = None if self._first_read_s is None else self._first_read_s - sequence.arrival_s
        per_token_s = None if ttft_s is None else tpot_s(ttft_s=ttft_s, e2e_s=e2e_s, output_tokens=self.tokens_read)
        return RequestReport(
            request_id=sequence.request_id,
            slo_class=sequence.slo.name,
            outcome=outcome,
            prompt_tokens=len(sequence.prompt_ids),
            output_tokens=self.tokens_read,
            target_ttft_ms=_ms(sequence.slo.ttft_s),
            target_tpot_ms=_ms(sequence.slo.tpot_s),
            target_e2e_ms=_ms(sequence.slo.e2e_s),
            predicted_ttft_ms=foreseen.ttft_ms,
            predicted_tpot_ms=foreseen.tpot_ms,
            ttft_ms=_ms(ttft_s),
            tpot_ms=_ms(per_token_s),
            e2e_ms=e2e_s * 1e3,
            relegated=sequence.relegated,
        )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3

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
    """Tokens as they come back from the engine. Bounded by the sequence's output limit: the loop never waits for it."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.tokens_read = 0
        self.begun = False
        """Whether the client has been sent a part of the answer; from then on no other engine can give it."""
        self._handed_back = False
        self._first_token_s: float | None = None
        self._last_token_s: float | None = None
        self._tokens: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()

    def push(self, token_id: int, now_s: float) -> None:
        """Hand over a token that came back at `now_s`."""
        self._tokens.put_nowait((token_id, now_s))

    def close(self) -> None:
        """No token follows; the sequence's outcome says why."""
        self._tokens.put_nowait(None)

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
        while (token := await self._tokens.get()) is not None and not self._handed_back:
            token_id, came_back_s = token
            self.tokens_read += 1
            self._first_token_s = came_back_s if self._first_token_s is None else self._first_token_s
            self._last_token_s = came_back_s
            yield token_id
        if self._handed_back:
            raise engine_away()
        if self.sequence.outcome is Outcome.FAILED:
            raise EngineFailed("the engine failed while answering")

    def report(self, outcome: Outcome, foreseen: Foreseen, now_s: float) -> RequestReport:
        """What was promised, foreseen and done, counting the tokens that were read."""
        sequence = self.sequence
        e2e_s = (now_s if self._last_token_s is None else self._last_token_s) - sequence.arrival_s
        ttft_s = None if self._first_token_s is None else self._first_token_s - sequence.arrival_s
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

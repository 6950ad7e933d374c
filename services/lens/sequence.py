"""One request inside lens: its tokens, where it is in the engine, and how it ended."""

import msgspec

from shared.slo import Slo
from shared.step import NO_SLOT, Chunk, Sampling
from shared.telemetry import Outcome


class Sequence:
    """A prompt and what has been generated behind it.

    Steps are sent ahead of their answers, so two counts run side by side: `cached_tokens` and `draws` are as they will be
    once every step sent has run; `output_ids` holds only what has come back.
    """

    def __init__(
        self,
        *,
        request_id: str,
        prompt_ids: tuple[int, ...],
        max_output_tokens: int,
        sampling: Sampling,
        end_ids: frozenset[int],
        slo: Slo,
        arrival_s: float,
    ) -> None:
        self.request_id = request_id
        self.prompt_ids = prompt_ids
        self.max_output_tokens = max_output_tokens
        self.sampling = sampling
        self.end_ids = end_ids
        self.slo = slo
        self.arrival_s = arrival_s

        self.output_ids: list[int] = []
        self.outcome: Outcome | None = None
        self.slot = NO_SLOT
        self.steps_in_flight = 0
        self.recomputes_since_token = 0
        self.cached_tokens = 0
        self.prefill_tokens_left = len(prompt_ids)
        """Tokens to compute before the next can be drawn."""
        self.draws = 0
        self._prefill_ids = prompt_ids

    @property
    def most_cached_tokens(self) -> int:
        """The most tokens it can come to hold in the cache; its last token is never put there."""
        return len(self.prompt_ids) + self.max_output_tokens - 1

    @property
    def can_decode(self) -> bool:
        """Whether the next step can extend it by a token."""
        return self.prefill_tokens_left == 0 and self.draws < self.max_output_tokens

    def advance(self, num_tokens: int) -> Chunk:
        """The next chunk of this many tokens, now counted as sent."""
        self.steps_in_flight += 1
        if self.prefill_tokens_left == 0:
            chunk = Chunk(self.slot, self.cached_tokens, 1, None, True)
        else:
            chunk = self._prefill_chunk(num_tokens)
            self.prefill_tokens_left -= num_tokens
        self.cached_tokens += num_tokens
        self.draws += chunk.sample
        return chunk

    def _prefill_chunk(self, num_tokens: int) -> Chunk:
        first = self.cached_tokens
        sampling = msgspec.structs.replace(self.sampling, first_draw=self.draws) if first == 0 else None
        token_ids = self._prefill_ids[first : first + num_tokens]
        return Chunk(
            self.slot,
            first,
            num_tokens,
            token_ids,
            sample=first + num_tokens == len(self._prefill_ids),
            sampling=sampling,
        )

    def accept(self, token_id: int) -> None:
        """Take a token that has come back, and end where it says so or the limit is reached."""
        self.output_ids.append(token_id)
        self.recomputes_since_token = 0
        if token_id in self.end_ids:
            self.outcome = Outcome.STOP
        elif len(self.output_ids) >= self.max_output_tokens:
            self.outcome = Outcome.LENGTH

    def recompute(self) -> None:
        """Leave the engine and begin again: prompt and tokens returned become the prefill, draws go on counting."""
        self.slot = NO_SLOT
        self.steps_in_flight = 0
        self.recomputes_since_token += 1
        self.cached_tokens = 0
        self.draws = len(self.output_ids)
        self._prefill_ids = (*self.prompt_ids, *self.output_ids)
        self.prefill_tokens_left = len(self._prefill_ids)

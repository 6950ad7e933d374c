"""One request inside lens: its tokens, where it is in the engine, and how it ended."""

from array import array
from typing import NamedTuple

import msgspec

from services.lens.prefixes import Prefix
from shared.engine_state import RESERVED_OUTPUT_TOKENS
from shared.pacing import first_due_s, likely_tokens, pace_s
from shared.slo import Slo
from shared.step import NO_SLOT, Chunk, Sampling
from shared.telemetry import Outcome


class Allotment(NamedTuple):
    """The tokens that one sequence runs in a step."""

    sequence: "Sequence"
    num_tokens: int
    is_prefill: bool
    is_relegated: bool = False
    """Whether it goes behind all that can be on time; an answer is given up with its first such token."""


class Sequence:
    """A prompt and what has been generated behind it.

    Steps are sent ahead of their answers, so two counts run side by side: `cached_tokens` and `draws` are as they will be
    once every step sent has run; `output_ids` holds only what has come back.

    Attributes:
        priority: those of a higher one are served first, whatever is due.
        tenant: whose it is; what is short is shared among tenants, and cached text within one.
        text_blocks: its prompt's text, as routers are told that it is cached (`shared.prompt_blocks`).
        relegated: whether it was served behind those that could be on time.
        given_s: for its first token, from its arrival on.
        due_s: by when its next token not yet sent for must be there to keep its targets: the first when `given_s` is over, the
            n-th behind it n paces after the first, however early or late those between came.
        pace_s: what it is paced at: a little less than its TPOT target, or than what the E2E target leaves.
        decode: what it runs in any step that decodes it; made once, since a step has hundreds.
    """

    def __init__(  # noqa: PLR0913 - a request has as many
        self,
        *,
        request_id: str,
        prompt_ids: tuple[int, ...],
        max_output_tokens: int,
        sampling: Sampling,
        end_ids: frozenset[int],
        slo: Slo,
        arrival_s: float,
        priority: int = 0,
        tenant: str = "",
        text_blocks: tuple[str, ...] = (),
    ) -> None:
        self.request_id = request_id
        self.prompt_ids = prompt_ids
        self.max_output_tokens = max_output_tokens
        self.sampling = sampling
        self.end_ids = end_ids
        self.slo = slo
        self.arrival_s = arrival_s
        self.priority = priority
        self.tenant = tenant
        self.text_blocks = text_blocks
        self._likely_tokens = likely_tokens(max_output_tokens, ignores_end=not end_ids)
        self.given_s = first_due_s(slo, self._likely_tokens)
        self.due_s = arrival_s + self.given_s
        self.pace_s = pace_s(slo, self._likely_tokens, self.given_s)

        self.decode = Allotment(self, 1, is_prefill=False)
        self.output_ids = array("i")
        self.outcome: Outcome | None = None
        self.slot = NO_SLOT
        self.steps_in_flight = 0
        self.recomputes_since_token = 0
        self.cached_tokens = 0
        """As long as it waits: what it is likely to find in the cache."""
        self.room_tokens = 0
        """Tokens for which it has blocks."""
        self.prefill_tokens_left = len(prompt_ids)
        """Tokens to compute before the next can be drawn."""
        self.prefill_ids: tuple[int, ...] = prompt_ids
        """The prompt, and behind it what was returned before the sequence had to be recomputed."""
        self.prefix: Prefix | None = None
        """While it waits: what it is likely to find in the cache."""
        self.draws = 0
        self.copied_tokens = 0
        """Of its prompt, not computed for it but found in the cache."""
        self.is_leaving = False
        """Whether it makes room for others as soon as what is on its way has come back."""
        self._joined_from: int | None = None
        self.runs_until_s = arrival_s
        """When the last step sent that carries it is foreseen to end."""
        self._first_token_s: float | None = None
        self.relegated = False
        self.given_up = False
        """Whether its targets are not pursued any more, for others' sake."""
        self.is_lost = False
        """Whether it is given up, or its first token came, or is foreseen to come, later than was promised."""

    @property
    def most_cached_tokens(self) -> int:
        """The most tokens it can come to hold in the cache; its last token is never put there."""
        return len(self.prompt_ids) + self.max_output_tokens - 1

    @property
    def tokens_to_join(self) -> int:
        """For so many tokens it needs room before it can begin."""
        return min(len(self.prefill_ids) + RESERVED_OUTPUT_TOKENS, self.most_cached_tokens)

    @property
    def can_decode(self) -> bool:
        """Whether the next step can extend it by a token."""
        return self.prefill_tokens_left == 0 and self.draws < self.max_output_tokens

    def expect(self, prefix: Prefix | None) -> None:
        """While it waits: so much of it will probably not have to be computed."""
        self.prefix = prefix
        self._begin_behind(0 if prefix is None else prefix.num_tokens)

    def _begin_behind(self, prefix_tokens: int) -> None:
        self.cached_tokens = prefix_tokens
        self.prefill_tokens_left = len(self.prefill_ids) - prefix_tokens

    def join(self, slot: int, prefix_slot: int, prefix_tokens: int) -> None:
        """Enter the engine, in this slot, with what its first chunk copies from another."""
        self.slot = slot
        self.prefix = None
        self._begin_behind(prefix_tokens)
        if not self.output_ids:
            self.copied_tokens = prefix_tokens
        self._joined_from = prefix_slot

    def advance(self, num_tokens: int, ends_s: float) -> Chunk:
        """The next chunk of this many tokens, now counted as sent; its step is foreseen to end at `ends_s`."""
        self.steps_in_flight += 1
        if self.prefill_tokens_left == 0:
            chunk = Chunk(self.slot, self.cached_tokens, 1, None, True)
        else:
            chunk = self._prefill_chunk(num_tokens)
            self.prefill_tokens_left -= num_tokens
        self.cached_tokens += num_tokens
        self.runs_until_s = ends_s
        if chunk.sample:
            if self._first_token_s is None:
                self._note_first(ends_s)
            self.draws += 1
            self.due_s += self.pace_s
        return chunk

    def _note_first(self, first_token_s: float) -> None:
        """From its first token on, as foreseen or as it came, a sequence is paced."""
        slo, took_s = self.slo, first_token_s - self.arrival_s
        self._first_token_s = first_token_s
        is_late = any(target_s is not None and took_s > target_s for target_s in (slo.ttft_s, slo.e2e_s))
        self.is_lost = self.given_up or is_late
        self.pace_s = pace_s(slo, self._likely_tokens, took_s)
        self.due_s = first_token_s + self.draws * self.pace_s

    def give_up(self) -> None:
        """Pursue its targets no further."""
        self.given_up = self.is_lost = self.relegated = True

    def _prefill_chunk(self, num_tokens: int) -> Chunk:
        first, joined_from = self.cached_tokens, self._joined_from
        sampling = None if joined_from is None else msgspec.structs.replace(self.sampling, first_draw=self.draws)
        self._joined_from = None
        return Chunk(
            self.slot,
            first,
            num_tokens,
            self.prefill_ids[first : first + num_tokens],
            sample=first + num_tokens == len(self.prefill_ids),
            sampling=sampling,
            prefix_slot=NO_SLOT if joined_from is None else joined_from,
        )

    def accept(self, token_id: int, now_s: float) -> None:
        """Take a token that has come back, and end where it says so or the limit is reached."""
        if not self.output_ids:
            self._note_first(now_s)
        self.output_ids.append(token_id)
        self.recomputes_since_token = 0
        if token_id in self.end_ids:
            self.outcome = Outcome.STOP
        elif len(self.output_ids) >= self.max_output_tokens:
            self.outcome = Outcome.LENGTH

    def recompute(self, *, engine_failed: bool) -> None:
        """Leave the engine and begin again: prompt and tokens returned become the prefill, draws go on counting."""
        self.slot = NO_SLOT
        self.steps_in_flight = 0
        self.is_leaving = False
        self.recomputes_since_token += engine_failed
        self.room_tokens = 0
        self.draws = len(self.output_ids)
        if self._first_token_s is not None and self.output_ids:
            self.due_s = self._first_token_s + self.draws * self.pace_s
        else:
            self._first_token_s, self.due_s, self.is_lost = None, self.arrival_s + self.given_s, self.given_up
        self.prefill_ids = (*self.prompt_ids, *self.output_ids)
        self.expect(None)

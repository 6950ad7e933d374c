"""The engine key, lens → Redis: an engine announces itself and its latest state. Only its absence removes an engine."""

from collections.abc import Mapping

from shared.wire import Message

DUE_EDGES_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Bounds of the intervals by which prompts are told apart: due, or wanted, within the first, between two, beyond the last."""
DUE_INTERVALS = len(DUE_EDGES_S) + 1

RESERVED_OUTPUT_TOKENS = 128
"""Of its answer a request has room for when it joins an engine; for the rest it takes blocks as it comes to them."""
MOST_PREFIX_CHANGES = 64
"""That a state tells of; a reader that has missed more reads the whole set (`names.prefixes_key`)."""
MOST_LATENESS_AGE_S = 1.5
"""How old the `lateness_counts` of an engine that serves may be: steps that ended before are in them."""


class EngineState(Message, frozen=True, kw_only=True):
    """One engine as its lens last saw it; written on change and at least once a second."""

    engine: str
    url: str
    """Where lens answers, as `http://host:port`."""
    model: str
    executor: str
    hardware_class: str
    emulated: bool
    announced_at_s: float
    """Redis TIME at writing; ages are taken from the same clock."""
    draining: bool = False
    serving: bool = True
    """False while the engine behind lens is away."""
    max_context_tokens: int
    max_running: int
    """Sequences that can be in the engine at once."""
    step_tokens: int
    """The most tokens that one step runs."""
    step_target_ms: float
    """The step time that lens plans for: by the tightest TPOT target of the answers that run."""
    least_prefill_tokens: int = 16
    """What lens prefills in a step whatever that takes."""
    kv_blocks_total: int
    kv_block_tokens: int
    kv_blocks_free: int
    decode_seqs: int = 0
    prefill_seqs: int = 0
    """Sequences in the engine whose prompts are not computed yet."""
    kv_tokens: int = 0
    """Tokens in the cache, summed over sequences."""
    waiting_requests: int = 0
    waiting_prefill_tokens: int = 0
    """Prompt tokens not yet computed, of requests waiting and running."""
    prefill_tokens_by_due: tuple[int, ...] = ()
    """Of the waiting prefill tokens, those that can still be on time, by when their first answer token is due: counts from the
    announcement, in the intervals of `DUE_EDGES_S`. Under least laxity a newcomer waits only for what is due before it."""
    prefills_by_due: tuple[int, ...] = ()
    """The requests that these tokens are of."""
    arriving_tokens_per_s: tuple[float, ...] = ()
    """Prompt tokens to compute that came of late, by the time that their requests were given for a first token."""
    arriving_per_s: float = 0.0
    """Requests that came of late."""
    credit_ms: float = 0.0
    """So much longer than `step_target_ms` may the next step take, since the answers that run are ahead of their targets."""
    in_flight_ms: float = 0.0
    """What the steps on their way are expected to take still, as a newcomer finds them: half the first is over."""
    admitted: Mapping[str, int] = {}
    """The highest dispatch number admitted, by router replica."""
    lateness_counts: tuple[int, ...] = ()
    """Emulated engines: as `shared.step.EngineInfo` has them; empty for others, and where lens does not know them."""
    prefix_epoch: str = ""
    """In which the engine began with an empty cache and `prefix_serial` with 0; empty where it copies no prefixes."""
    prefix_serial: int = 0
    """Changes so far to the blocks of text (`shared.prompt_blocks`) that its cache holds."""
    prefix_blocks: int = 0
    """How many there are now."""
    prefix_changes: tuple[str, ...] = ()
    """The latest of them, the last one last: `+` or `-` and the block's name."""

    def __post_init__(self) -> None:
        """Counts by other intervals than this version's say nothing here: such a state is not readable."""
        for counts in (self.prefill_tokens_by_due, self.prefills_by_due, self.arriving_tokens_per_s):
            if counts and len(counts) != DUE_INTERVALS:
                raise ValueError(f"{len(counts)} counts by when something is due; there are {DUE_INTERVALS} intervals")

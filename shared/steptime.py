"""How long a step takes, from a batch's shape and a model's coefficients: the one place where this arithmetic exists.

    t = max(f · Σ cᵢ·xᵢ, floor)        f the regime's factor: decode-only or mixed

The terms xᵢ are physical: weights are read once a step, compute grows with the tokens and faster once it no longer
hides behind that reading, in tiles, attention reads the KV cache, prefill chunks attend to what precedes them, graphs are
captured for some batch sizes only. Every term grows with the batch and no coefficient is negative, so nothing that is
added to a batch shortens the step. All are linear in the coefficients, so the forecaster learns them one step at a time;
lens, prism and the simulator evaluate them here, for one batch or for thousands of candidates.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

Positive = Annotated[float, msgspec.Meta(gt=0.0, le=100.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e3)]

Array = NDArray[np.floating[Any]]
Number = float | Array

KNEES_TOKENS = (64, 256, 512)
"""Where compute starts to show over reading the weights, by precision and generation of the hardware."""
TILE_TOKENS = 128
"""Matrix kernels run whole tiles of so many tokens."""
GRAPH_TOKENS = (4, 8, 16, 32, 64, 128, 256)
"""Where kernels and captured graphs commonly change."""

ALWAYS = (
    "base",
    "per_sequence",
    "per_padded_sequence",
    "per_token",
    "per_kv_token",
    "per_attention_work",
    *(f"per_token_beyond_{knee}" for knee in KNEES_TOKENS),
    "per_tile",
    *(f"above_{tokens}_tokens" for tokens in GRAPH_TOKENS),
)
"""The features of any step."""
MIXED = ("mixed", "per_prefill", "mixed_per_kv_token", "mixed_per_sequence")
"""The features of a step that prefills, 0 in others: no captured graph, and attention over two kinds of sequences."""
FEATURES = (*ALWAYS, *MIXED)

PRESUMED_NOISE = 0.05
"""Relative standard deviation that a step is presumed to have, as long as its real noise is not known."""
MOST_DOUBT = 3.0
"""No interval says more than three times shorter or longer: as little as that is known where nothing is."""


class StepShape(NamedTuple):
    """What a step's duration depends on; each field a number, or arrays of one shape for many candidate batches."""

    batch_size: Number
    """Sequences; at least 1."""
    num_tokens: Number
    """Of all sequences; at least one each."""
    kv_tokens: Number = 0.0
    """In the cache before the step, of all sequences."""
    attention_work: Number = 0.0
    """Σ cᵢ(kᵢ + cᵢ/2) over prefill chunks of cᵢ tokens behind kᵢ cached ones, tokens²."""
    prefill_seqs: Number = 0.0

    def with_chunk(self, num_tokens: int, cached_tokens: int) -> "StepShape":
        """The step with a prefill chunk more, of a sequence that has so many tokens in the cache."""
        return StepShape(
            self.batch_size + 1,
            self.num_tokens + num_tokens,
            self.kv_tokens + cached_tokens,
            self.attention_work + num_tokens * (cached_tokens + num_tokens / 2),
            self.prefill_seqs + 1,
        )


def features(shape: StepShape) -> tuple[Number, ...]:
    """The terms that coefficients multiply, in the order of `FEATURES`; plain numbers for a shape of plain numbers.

    Written in operators that mean the same for a number and for an array.
    """
    seqs, tokens, kv_tokens, attention_work, prefill_seqs = [1.0 * field for field in shape]  # integers might wrap
    mixed = 1.0 * (prefill_seqs > 0.0)
    return (
        1.0,
        seqs,
        padded(seqs),
        tokens,
        kv_tokens,
        attention_work,
        *[(tokens - knee) * (tokens > knee) for knee in KNEES_TOKENS],  # a list takes half the time of a generator
        (tokens > TILE_TOKENS) * (-(-tokens // TILE_TOKENS) - 1.0),
        *[1.0 * (tokens > above) for above in GRAPH_TOKENS],
        mixed,
        prefill_seqs,
        mixed * kv_tokens,
        mixed * seqs,
    )


def padded(seqs: Number) -> Number:
    """To the sizes that serving engines commonly capture graphs for: 1, 2, 4, then multiples of 8."""
    return 1.0 + (seqs > 1) + 2.0 * (seqs > 2) + 4.0 * (seqs > 4) + 8.0 * (seqs > 8) * (-(-seqs // 8) - 1.0)


class Residuals(msgspec.Struct, frozen=True, kw_only=True):
    """How actual times lie about the sum of the terms, in one regime."""

    factor: Positive = 1.0
    """Actual over summed terms, of late."""
    deviation: Positive = 0.1
    """Standard deviation of ln(actual ÷ predicted) where the model knows its ground."""
    lower: NotNegative = 1.645
    """0.05 quantile of ln(actual ÷ predicted), so many deviations below 0."""
    upper: NotNegative = 1.645
    """0.95 quantile, so many above."""


class Interval(NamedTuple):
    """The expected duration and the 0.05 and 0.95 quantiles; each a number, or arrays of one shape."""

    expected_s: Number
    lower_s: Number
    upper_s: Number


class StepModel(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Coefficients by feature, in seconds, with what is known of their error."""

    coefficients_s: tuple[float, ...]
    """One per name in `FEATURES`, none negative."""
    floor_s: float
    """No step is foreseen to be shorter."""
    decode: Residuals = Residuals()
    mixed: Residuals = Residuals()
    doubt_ms: tuple[tuple[float, ...], ...] = ()
    """Rows of a lower triangle D by feature: what is not known of the coefficients lets the terms' sum deviate by |Dᵀx|,
    as long as steps have the presumed noise; it grows away from what was seen."""

    @cached_property
    def upper_ratio(self) -> float:
        """The 0.95 quantile of actual over predicted time on known ground, of the less certain regime."""
        return min(math.exp(max(r.upper * r.deviation for r in (self.decode, self.mixed))), MOST_DOUBT)

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of the step, or of each candidate."""
        if (law := self.law) is not None and isinstance(shape.num_tokens, int | float):
            return one_step_s(law, *shape)
        terms = features(shape)
        return expected_s(*term_sums_s(self.coefficients_s, terms), terms, self._factors, self.floor_s)

    def interval(self, shape: StepShape) -> Interval:
        """Expected duration and the bounds of its 90 % interval, for the step or each candidate."""
        terms = features(shape)
        always_s, mixed_s = term_sums_s(self.coefficients_s, terms)
        foreseen_s = expected_s(always_s, mixed_s, terms, self._factors, self.floor_s)
        variance = self._variance_s2(terms) / (PRESUMED_NOISE * larger(always_s + mixed_s, self.floor_s)) ** 2
        mixed = terms[_MIXED]
        return interval(
            foreseen_s,
            doubt_squares(variance),
            self.decode.deviation + mixed * (self.mixed.deviation - self.decode.deviation),
            self.decode.lower + mixed * (self.mixed.lower - self.decode.lower),
            self.decode.upper + mixed * (self.mixed.upper - self.decode.upper),
        )

    @cached_property
    def law(self) -> "Law | None":
        """What `step_time_s` follows, as `one_step_s` wants it; None of a model of another kind, that must be asked."""
        by_name = dict(zip(FEATURES, self.coefficients_s, strict=True))
        fixed_s, per_token_s = by_name["base"], by_name["per_token"]
        straights = [(fixed_s, per_token_s)]
        for knot in _KNOTS_TOKENS:
            per_token_s += (beyond_s := by_name.get(f"per_token_beyond_{knot}", 0.0))
            fixed_s += by_name.get(f"above_{knot}_tokens", 0.0) - knot * beyond_s
            straights.append((fixed_s, per_token_s))
        others = tuple(by_name[name] for name in _NOT_STRAIGHT_IN_TOKENS)
        return Law(tuple(straights), others, *self._factors, self.floor_s)

    @property
    def _factors(self) -> tuple[float, float]:
        return self.decode.factor, self.mixed.factor

    def _variance_s2(self, terms: tuple[Number, ...]) -> Number:
        if not self.doubt_ms:
            return 0.0
        stacked = np.stack(np.broadcast_arrays(*terms), axis=-1)
        squares: Number = np.square(stacked @ self._doubt_matrix_s).sum(axis=-1)
        return squares

    @cached_property
    def _doubt_matrix_s(self) -> Array:
        matrix = np.zeros((len(FEATURES), len(FEATURES)))
        for row, values in enumerate(self.doubt_ms):
            matrix[row, : len(values)] = values
        return matrix / 1e3


class Law(NamedTuple):
    """A step model's numbers in the order in which `one_step_s` works with them."""

    straights_s: tuple[tuple[float, float], ...]
    """Between one knot and the next a step's time is straight in its tokens, but for tiles: what it has at 0, and its slope."""
    others_s: tuple[float, ...]
    decode_factor: float
    mixed_factor: float
    floor_s: float


def one_step_s(
    law: Law,
    seqs: Number,
    tokens: Number,
    kv_tokens: Number = 0.0,
    attention_work: Number = 0.0,
    prefill_seqs: Number = 0.0,
) -> float:
    """What the features give for one step of plain numbers, in a quarter of the time: planning a step asks for it many times.

    Only plain numbers and tuples occur in it, so that it can be compiled where even this is too long.
    """
    straights_s, others_s, decode_factor, mixed_factor, floor_s = law
    per_seq, per_padded, per_kv, per_work, per_tile, mixed, per_prefill, mixed_per_kv, mixed_per_seq = others_s
    fixed_s, per_token_s = straights_s[bisect_left(_KNOTS_TOKENS, tokens)]
    always_s = fixed_s + per_token_s * tokens + per_kv * kv_tokens + per_work * attention_work
    always_s += per_seq * seqs + per_padded * padded(seqs)
    if tokens > TILE_TOKENS:
        always_s += per_tile * (-(-tokens // TILE_TOKENS) - 1)
    duration_s = decode_factor * always_s
    if prefill_seqs > 0:
        mixed_s = mixed + per_prefill * prefill_seqs + mixed_per_kv * kv_tokens + mixed_per_seq * seqs
        duration_s = max(duration_s, mixed_factor * (always_s + mixed_s))
    return float(max(duration_s, floor_s))


def term_sums_s(coefficients_s: Sequence[float] | Array, terms: Sequence[Number]) -> tuple[Number, Number]:
    """Σ cᵢxᵢ over the terms of any step, and over those of a mixed step alone; a coefficient may be one per engine."""
    products = [coefficient * term for coefficient, term in zip(coefficients_s, terms, strict=True)]
    return sum(products[: len(ALWAYS)]), sum(products[len(ALWAYS) :])


def expected_s(
    always_s: Number, mixed_s: Number, terms: Sequence[Number], factors: tuple[Number, Number], floor_s: Number
) -> Number:
    """The duration that two sums of terms stand for.

    A mixed step takes no less than it would at the decode factor without its own terms: prefill never shortens a step.

    Args:
        factors: of decode-only and of mixed steps.
    """
    decode_factor, mixed_factor = factors
    summed_s = larger(decode_factor * always_s, terms[_MIXED] * mixed_factor * (always_s + mixed_s))
    return larger(summed_s, floor_s)


def doubt_squares(variance: Number) -> Number:
    """d² for `interval`, relative, from the variance v of the terms' sum in units of the presumed noise ν: ν²·v²/(1 + v).

    What is known to better than the presumed noise was learned from steps whose real noise, mostly smaller, is measured
    by itself; what is known worse is so by the prior, which the presumed noise is the measure of.
    """
    return PRESUMED_NOISE**2 * variance * variance / (1.0 + variance)


def interval(foreseen_s: Number, doubt: Number, deviation: Number, lower: Number, upper: Number) -> Interval:
    """The 90 % interval about a foreseen duration t: t·exp(−l·s) to t·exp(u·s), s = √(σ² + d²).

    Args:
        doubt: d², relative, by what is not known of the coefficients.
        deviation: σ, the relative noise.
        lower: l, in units of s.
        upper: u, in units of s.
    """
    spread = (deviation * deviation + doubt) ** 0.5
    down = smaller(lower * spread, _LOG_DOUBT)
    up = smaller(upper * spread, _LOG_DOUBT)
    return Interval(foreseen_s, foreseen_s * math.e**-down, foreseen_s * math.e**up)


@overload
def larger(a: float, b: float) -> float: ...
@overload
def larger(a: Number, b: Number) -> Number: ...
def larger(a: Number, b: Number) -> Number:
    """The larger of two, or of each two; plain numbers skip numpy, which costs them ten times as much."""
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b)
    result: Number = np.maximum(a, b)
    return result


@overload
def smaller(a: float, b: float) -> float: ...
@overload
def smaller(a: Number, b: Number) -> Number: ...
def smaller(a: Number, b: Number) -> Number:
    """The smaller of two, or of each two."""
    if isinstance(a, float) and isinstance(b, float):
        return min(a, b)
    result: Number = np.minimum(a, b)
    return result


_MIXED = FEATURES.index("mixed")
_KNOTS_TOKENS = tuple(sorted({*KNEES_TOKENS, *GRAPH_TOKENS}))
_NOT_STRAIGHT_IN_TOKENS = (
    *("per_sequence", "per_padded_sequence", "per_kv_token", "per_attention_work", "per_tile"),
    *MIXED,
)
_LOG_DOUBT = math.log(MOST_DOUBT)


def _prior_coefficients_s(**coefficients_s: float) -> tuple[float, ...]:
    return tuple(coefficients_s.get(name, 0.0) for name in FEATURES)


PRIOR = StepModel(
    coefficients_s=_prior_coefficients_s(
        base=0.02, per_padded_sequence=0.002, per_token=0.002, per_kv_token=2e-6, per_attention_work=2e-7
    ),
    floor_s=0.02,
    decode=Residuals(deviation=0.42),
    mixed=Residuals(deviation=0.42),
)
"""Where nothing has been learned: slower than what engines turn out to be, so that no engine looks fast unknown."""

"""Fits a profile's own form to logged steps: monotone tables and slopes of at least 0, by least absolute relative error."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from loadgen.steplog import LoggedStep, stack_shapes
from services.engine.profile import Table
from shared.steptime import StepShape

Array = NDArray[np.float64]

TILES = (8, 16, 32, 64, 128)
MIXED_KV_FACTORS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 3.3)
TOKEN_ROWS = (8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384)
GRAPH_ROWS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
LEAST_STEPS_A_ROW = 12
REWEIGHTINGS = 8
LEAST_ERROR = 2e-3
"""Relative errors below count alike, or a few exact steps would take all the weight."""
STALL_RESIDUAL = 0.25
"""A step so much longer than expected has stalled."""
BLOCK_STEPS = 32
BLOCKS_KEPT = 16


class Costs(NamedTuple):
    """The part of a profile that steps tell."""

    tile_tokens: int
    floor_ms: Table
    graph_ms: Table
    kv_ms_per_token: float
    work_ms_per_token2: float
    mixed_ms: float
    mixed_kv_factor: float


class Noise(NamedTuple):
    """What steps take beside their expected time."""

    residuals: tuple[float, ...]
    block_steps: int
    stall_share: float
    stall_ms: float


def fit_costs(steps: Sequence[LoggedStep]) -> Costs:
    """The costs that come nearest to the steps, of all tiles and factors that are tried."""
    shape, actual_ms = stack_shapes(steps), _durations_ms(steps)
    fits = (
        _fit(shape, actual_ms, tile_tokens, factor)
        for tile_tokens, factor in itertools.product(TILES, MIXED_KV_FACTORS)
    )
    _, costs = min(fits, key=lambda fitted: fitted[0])
    return costs


def noise_of(steps: Sequence[LoggedStep], residuals: Array) -> Noise:
    """Noise to replay, from each step's actual ÷ expected − 1: evenly spaced blocks, stalls apart.

    Costs are fitted to the median; the noise makes up what all steps together take longer than that.
    """
    actual_ms = _durations_ms(steps)
    expected_ms = actual_ms / (1.0 + residuals)
    stalled = residuals > STALL_RESIDUAL
    stalls_ms = (actual_ms - expected_ms)[stalled]
    calm = residuals[~stalled]
    mean = actual_ms[~stalled].sum() / expected_ms[~stalled].sum() - 1.0
    block_steps = min(BLOCK_STEPS, len(calm))
    starts = np.unique(np.linspace(0, len(calm) - block_steps, BLOCKS_KEPT).astype(int))
    kept = np.concatenate([calm[start : start + block_steps] for start in starts])
    return Noise(
        residuals=tuple(round(float(residual), 5) for residual in kept - kept.mean() + mean),
        block_steps=block_steps,
        stall_share=round(float(stalled.mean()), 6),
        stall_ms=round(float(stalls_ms.mean()), 2) if stalled.any() else 0.0,
    )


def _durations_ms(steps: Sequence[LoggedStep]) -> Array:
    return np.array([step.duration_s for step in steps]) * 1e3


def _fit(shape: StepShape, actual_ms: Array, tile_tokens: int, factor: float) -> tuple[float, Costs]:
    """Mean absolute relative error and costs."""
    seqs = np.asarray(shape.batch_size)
    tokens = -(-np.asarray(shape.num_tokens) // tile_tokens) * tile_tokens
    mixed = np.asarray(shape.prefill_seqs) > 0
    kv_tokens = np.asarray(shape.kv_tokens) * np.where(mixed, factor, 1.0)
    token_rows = _rows(TOKEN_ROWS, tokens)
    graph_rows = _rows(GRAPH_ROWS, seqs)
    level = np.ones_like(tokens)
    graph = np.where(mixed[:, None], _shares(seqs, graph_rows), _shares(seqs, graph_rows) > 0)
    terms = np.column_stack(
        (level, _shares(tokens, token_rows), graph, kv_tokens, np.asarray(shape.attention_work), mixed)
    )
    coefficients, error = _least_absolute(terms / actual_ms[:, None])
    floor_ms, graph_ms = np.split(coefficients[:-3], [len(token_rows)])
    kv_ms, work_ms, mixed_ms = (float(f"{coefficient:.4g}") for coefficient in coefficients[-3:])
    costs = Costs(
        tile_tokens,
        _table(token_rows, np.cumsum(floor_ms)),
        _table(graph_rows, np.concatenate(([0.0], np.cumsum(graph_ms)))),
        kv_ms,
        work_ms,
        mixed_ms,
        factor,
    )
    return error, costs


def _rows(candidates: Sequence[int], values: Array) -> list[int]:
    """The rows that enough steps speak for, and the largest value."""
    largest = int(values.max())
    rows, before = [], 0
    for candidate in candidates:
        if candidate < largest and np.count_nonzero((values > before) & (values <= candidate)) >= LEAST_STEPS_A_ROW:
            rows.append(candidate)
            before = candidate
    return [*rows, largest]


def _shares(values: Array, rows: Sequence[int]) -> Array:
    """How far each value has passed from each row to the next, 0 to 1: what a table's rises are multiplied by."""
    shares = [np.clip((values - row) / (next_row - row), 0.0, 1.0) for row, next_row in itertools.pairwise(rows)]
    return np.array(shares).reshape(len(shares), len(values)).T


def _least_absolute(terms: Array) -> tuple[Array, float]:
    """Coefficients of at least 0 for which the terms' sum is nearest to 1, in the mean of absolute errors, and that mean."""
    scales = np.maximum(np.abs(terms).max(axis=0), 1e-12)
    scaled = terms / scales
    weights = np.ones(len(terms))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(REWEIGHTINGS):
        gram = scaled.T @ (scaled * weights[:, None])
        root = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)))
        coefficients, _ = nnls(root.T, np.linalg.solve(root, scaled.T @ weights))
        weights = 1.0 / np.maximum(np.abs(scaled @ coefficients - 1.0), LEAST_ERROR)
    error = float(np.abs(scaled @ coefficients - 1.0).mean())
    return coefficients / scales, error


def _table(rows: Sequence[int], values_ms: Array) -> Table:
    return tuple((row, round(float(ms), 3)) for row, ms in zip(rows, values_ms, strict=True))

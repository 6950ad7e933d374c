"""The loads of the experiments on four unequal engines, below which each engine batches as lens does. Pure."""

from collections.abc import Sequence

from loadgen.experiments.prism_loads import BY_BUDGET, BY_LENS, CAPACITY, IDLE, LIGHT, OVER, Line, Workload
from loadgen.experiments.systems import System

FAR_OVER = 1.4

# Capacities by `--find-rate`, with other seeds than the experiments'.
CONVERSATION = Workload("conversation", "conversation", 24.5, BY_LENS)
CODE = Workload("code", "code", 33.5, BY_LENS)
MIXED = Workload("mixed", "mixed", 14.7, BY_LENS)
DOCUMENTS = Workload("documents", "documents", 14.5, BY_LENS)
FOUR: Sequence[Workload] = (CONVERSATION, CODE, MIXED, DOCUMENTS)

LONG = Workload("long documents", "long documents", 8.6, BY_LENS)
THREE_CLASSES = Workload("three classes", "three classes", 13.15, BY_BUDGET)

# What is compared where prompts are long.
LONG_BOTH, LONG_NEITHER = System("synergy", "synergy"), System("static-2048", "round-robin")
LONG_REACTIVE = ("weighted-least-requests", "weighted-least-tokens", "published")
"""Policies that react and come near."""
LONG_SYSTEMS: Sequence[System] = (
    LONG_BOTH,
    *(System("synergy", policy) for policy in LONG_REACTIVE),
    LONG_NEITHER,
    *(System(planner, "weighted-least-tokens") for planner in ("static-2048", "static-512", "static-2048-relegating")),
    System("published", "published"),
)

# What is compared where three classes are mixed.
RELEGATING_BUDGETS = ("static-1024-relegating", "static-8192-relegating")
PLAIN_BUDGETS = ("static-2048", "static-8192")
"""Those that came out best where the capacity was looked for."""
CONTENDERS = ("round-robin", "weighted-least-requests", "least-tokens", "weighted-least-tokens", "published")
"""Policies that react: those that come near, and one that does not look at all."""

HETEROGENEOUS_LINES: Sequence[Line] = tuple(
    Line(workload, times) for workload in FOUR for times in (CAPACITY, OVER, FAR_OVER)
)
LONG_LINES: Sequence[Line] = tuple(Line(LONG, times) for times in (IDLE, LIGHT, CAPACITY, OVER, FAR_OVER))
MIXED_LINES: Sequence[Line] = tuple(Line(THREE_CLASSES, times) for times in (IDLE, LIGHT, CAPACITY, OVER))

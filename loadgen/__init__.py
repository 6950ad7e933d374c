"""Load on a running system, and what came of it: arrivals, workloads, a client that measures, scores and reports."""

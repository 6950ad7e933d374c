"""Rows with what a page shows of them."""

from loadgen.simulate.rows import Row


def row(planner: str, policy: str, attainment: float, ci95: float | None = 0.05) -> Row:
    return Row(
        workload="conversation",
        rate=6,
        engine_policy=planner,
        router_policy=policy,
        seeds=(0, 1),
        attainment=attainment,
        attainment_ci95=ci95,
        goodput=1.0,
        ttft_p50_s=None,
        ttft_p99_s=None,
        tpot_p50_s=None,
        tpot_p99_s=None,
        e2e_p50_s=None,
        e2e_attainment={},
        tokens_per_s=1.0,
        refused=0.0,
    )

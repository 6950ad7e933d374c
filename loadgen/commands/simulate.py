"""`python -m loadgen simulate`: a fleet of profiled engines in virtual time, under any planner and router policy."""

import argparse
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import msgspec
from rich.console import Console

from loadgen.arguments import not_negative, positive_float, positive_int, whole
from loadgen.arrivals import mean_rate_per_s
from loadgen.commands.files import RUNS
from loadgen.load import Arrivals, ImpossibleLoad, Settings, draw_load
from loadgen.options import add_arrival_options, add_request_options, load_settings, trace_sources
from loadgen.simulate.experiment import Cell, run_cells, write_rows
from loadgen.simulate.fleet_plan import Member, parse_die, parse_join, parse_member, parse_slow, planned_fleet
from loadgen.simulate.hardware import MODEL, hardware_by_profile
from loadgen.simulate.run import ORACLE, Knows, Scenario
from loadgen.simulate.tables import rows_table
from loadgen.sources import Source, read_sources
from loadgen.workload import Request
from services.engine.profile import known_profiles
from services.lens.planners import planner_named
from services.prism.policies import POLICIES, policy_named

DEFAULT_PROFILE = "h100-llama3.1-8b"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Make the command known."""
    parser = commands.add_parser(
        "simulate",
        help="the same load on a simulated fleet, to compare planners and router policies",
        description="Runs the services' own planners, routers and step models in virtual time, on engines that take as "
        "long for a step as a profiled GPU. Every planner is combined with every policy; the same seed has the same "
        "result. Names of engines are PROFILE-1, PROFILE-2 and so on.",
    )
    _add_fleet_options(parser.add_argument_group("the fleet"))
    _add_policy_options(parser.add_argument_group("what decides"))
    add_arrival_options(parser.add_argument_group("when requests arrive"))
    add_request_options(parser.add_argument_group("what they ask for"))
    run = parser.add_argument_group("the runs")
    run.add_argument("--seed", type=whole, default=0, help="of all that is drawn (%(default)s)")
    run.add_argument("--repeats", type=positive_int, default=1, help="runs, each with the next seed (%(default)s)")
    run.add_argument("--name", default="simulate", help=f"rows go to {RUNS}/NAME.jsonl (%(default)s)")
    run.add_argument("--append", action="store_true", help="keep the rows that are there")
    parser.set_defaults(
        command=simulate, url="", timeout=0.0, time_scale=1.0, warm_up=0.0, retries=0, completions=False
    )


def _add_fleet_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--engine",
        dest="members",
        type=parse_member,
        action="append",
        metavar="PROFILE[:COUNT]",
        help=f"repeatable; a .json file, or one of {', '.join(known_profiles())} ({DEFAULT_PROFILE})",
    )
    group.add_argument(
        "--slow", dest="incidents", type=parse_slow, action="append", metavar="ENGINE@S:FACTOR", help="repeatable"
    )
    group.add_argument(
        "--die", dest="incidents", type=parse_die, action="append", metavar="ENGINE@S", help="repeatable"
    )
    group.add_argument(
        "--join", dest="incidents", type=parse_join, action="append", metavar="PROFILE@S", help="repeatable"
    )
    group.add_argument("--replicas", type=positive_int, default=1, help="routers (%(default)s)")
    group.add_argument(
        "--delay", type=not_negative, default=0.05, metavar="S", help="of telemetry and engines' states (%(default)s)"
    )
    group.add_argument("--instant", action="store_true", help="routers see every engine as it is at that instant")


def _add_policy_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--planner",
        dest="planners",
        type=_checked(planner_named),
        action="append",
        help="repeatable; synergy, published, prefill-first, static-N, static-N-relegating, static-N-triaging (synergy)",
    )
    group.add_argument(
        "--policy",
        dest="policies",
        type=_checked(lambda name: name == ORACLE or policy_named(name)),
        action="append",
        help=f"repeatable; {', '.join(POLICIES)}, {ORACLE} (synergy)",
    )
    group.add_argument(
        "--knows", type=Knows, choices=tuple(Knows), default=Knows.LEARNED, help="of step times (%(default)s)"
    )
    group.add_argument(
        "--step-target-ms", type=positive_float, default=150.0, help="as LENS_STEP_TARGET_MS (%(default)s)"
    )
    group.add_argument("--least-prefill-tokens", type=positive_int, default=16, help="as of lens (%(default)s)")
    group.add_argument("--max-waiting", type=positive_int, default=256, help="as LENS_MAX_WAITING (%(default)s)")


def simulate(options: argparse.Namespace, console: Console) -> int:
    """Simulate, show, write; returns the exit status."""
    settings = load_settings(options, MODEL)
    if settings.arrivals is Arrivals.CLOSED:
        raise ImpossibleLoad("a closed loop cannot be simulated")
    draw = partial(_drawn, settings, trace_sources(options))
    rate_per_s = settings.rate_per_s or mean_rate_per_s([request.arrival_s for request in draw(options.seed)])
    cells = [
        Cell(
            workload=settings.source or "prompts",
            rate=rate_per_s,
            draw=draw,
            scenario=_scenario(options, planner, policy),
        )
        for planner in options.planners or ("synergy",)
        for policy in options.policies or ("synergy",)
    ]
    rows = run_cells(cells, range(options.seed, options.seed + options.repeats), console)
    console.print(rows_table(rows))
    path = RUNS / f"{options.name}.jsonl"
    write_rows(rows, path, append=options.append)
    console.print(f"rows: {path}", markup=False, highlight=False)
    return 0


def _drawn(settings: Settings, sources: Sequence[Source], seed: int) -> Sequence[Request]:
    return draw_load(msgspec.structs.replace(settings, seed=seed), _read(sources))


_read = lru_cache(1)(read_sources)


def _scenario(options: argparse.Namespace, planner: str, policy: str) -> Scenario:
    fleet = planned_fleet(options.members or (Member(DEFAULT_PROFILE),), options.incidents or ())
    return Scenario(
        engines=fleet.engines,
        hardware={name: hardware_by_profile(profile) for name, profile in fleet.profiles.items()},
        incidents=fleet.incidents,
        planner=planner,
        policy=policy,
        replicas=options.replicas,
        knows=options.knows,
        delay_s=options.delay,
        instant=options.instant,
        target_s=options.step_target_ms / 1e3,
        least_prefill_tokens=options.least_prefill_tokens,
        max_waiting=options.max_waiting,
    )


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """A type of argument that says what there is where a name is wrong."""

    def name(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return name

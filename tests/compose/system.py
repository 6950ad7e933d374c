"""The containers' system under test: started by Compose as a user would, looked into and disturbed through the Docker API."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import msgspec
from docker.models.containers import Container

from shared.names import forecast_key
from tests.servers import eventually_sync, free_port

ROOT = Path(__file__).parents[2]
EMULATED, REAL = "emulated", "llm"
ENGINES: Mapping[str, Sequence[str]] = {EMULATED: ("h100", "a6000"), REAL: ("large", "small")}
"""By profile of compose.yaml."""
OF_ALL_PROFILES = ("nats", "redis", "forecaster", "prism", "front", "prometheus")
UP_WITHIN_S = 240.0
STOPPED_WITHIN_S = 30.0
TELEMETRY_MAX_BYTES = 8 << 20
"""What NATS may keep of it here, so that it can be filled."""
LOOK_AGAIN_S = 0.5
"""At how all containers are: Docker looks at each, and what waits for it is on the same machine."""
IMAGES = "localhost/synergysched"
PROJECT_LABEL, SERVICE_LABEL = "com.docker.compose.project", "com.docker.compose.service"


def compose_command() -> Sequence[str]:
    """The plug-in, or the program that was there before it.

    Raises:
        FileNotFoundError: there is neither.
    """
    if subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode == 0:
        return ("docker", "compose")
    program = shutil.which("docker-compose")
    if program is None:
        raise FileNotFoundError("neither `docker compose` nor docker-compose")
    return (program,)


class ComposeSystem:
    """One project of compose.yaml, on free ports; its containers, networks and volumes go with it.

    Args:
        profile: EMULATED or REAL.
        settings: of the environment, beside the caller's own.
    """

    def __init__(self, project: str, profile: str, settings: Mapping[str, str]) -> None:
        self.project = project
        self.engines = ENGINES[profile]
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._prometheus_port = free_port()
        self.prometheus_url = f"http://127.0.0.1:{self._prometheus_port}"
        self._docker: Any = docker.from_env()
        reports = (ROOT / "runs").stat()
        self._environment = {
            **os.environ,
            **settings,
            "COMPOSE_PROFILES": profile,
            "COMPOSE_PROJECT_NAME": project,
            "SYNERGY_PORT": str(self.port),
            "LOADGEN_USER": f"{reports.st_uid}:{reports.st_gid}",
            "PROMETHEUS_PORT": str(self._prometheus_port),
        }

    def compose(self, *arguments: str, statuses: Collection[int] = (0,), **settings: str) -> str:
        """Run a Compose command to its end; returns what it wrote.

        Args:
            statuses: with which it may end.
            settings: of the environment, this once.

        Raises:
            AssertionError: it failed; with what it wrote.
        """
        command = [*compose_command(), *arguments]
        environment = {**self._environment, **settings}
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=UP_WITHIN_S
        )
        assert ended.returncode in statuses, f"{' '.join(command)}:\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Compose command that runs meanwhile; it is ended, where it has not."""
        process = subprocess.Popen(
            [*compose_command(), *arguments], cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(STOPPED_WITHIN_S)

    def up(self, *arguments: str) -> None:
        """Start what is not there, and wait until all of it is well."""
        self.compose("up", "--detach", *arguments)
        self.well()

    def down(self) -> None:
        """Stop everything, and forget what it kept."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        self._docker.close()

    def containers(self, service: str | None = None) -> list[Container]:
        """Those that run, of a service or of all."""
        labels = [f"{PROJECT_LABEL}={self.project}", *([f"{SERVICE_LABEL}={service}"] if service else [])]
        found: list[Container] = self._docker.containers.list(filters={"label": labels}, ignore_removed=True)
        return found

    def unwell(self) -> dict[str, str]:
        """How services are that are not healthy, by the name of a container, or their own where none runs."""
        running = self.containers()
        states = {c.name: c.attrs["State"].get("Health", {}).get("Status", "healthy") for c in running}
        services = {*OF_ALL_PROFILES, *(f"{part}-{engine}" for part in ("engine", "lens") for engine in self.engines)}
        missing = services - {container.labels[SERVICE_LABEL] for container in running}
        return {name: state for name, state in states.items() if state != "healthy"} | dict.fromkeys(missing, "missing")

    def well(self, within_s: float = UP_WITHIN_S) -> None:
        """Wait until every container is healthy.

        Raises:
            AssertionError: one is not in time; with those that are not.
        """
        try:
            eventually_sync(lambda: not self.unwell(), within_s, look_again_s=LOOK_AGAIN_S)
        except AssertionError as late:
            late.add_note(f"not well: {self.unwell()}")
            raise

    def kill(self, service: str) -> Container:
        """End the first process of one of its containers as a crash would, until Docker starts it again; returns the container."""
        container, *_ = self.containers(service)
        restarts = _restarts(container)
        os.kill(self._pid(container), signal.SIGKILL)
        eventually_sync(lambda: _restarts(container) > restarts, STOPPED_WITHIN_S)
        return container

    def send(self, service: str, number: signal.Signals) -> None:
        """A signal to all processes of one of its containers."""
        container, *_ = self.containers(service)
        for process in container.top()["Processes"]:
            with contextlib.suppress(ProcessLookupError):  # a health check that has ended meanwhile
                os.kill(int(process[1]), number)

    def cut(self, service: str, other: str) -> None:
        """Let nothing through from one service to another, as a broken cable would."""
        self._firewall("--append", service, other)

    def mend(self, service: str, other: str) -> None:
        """Undo `cut`."""
        self._firewall("--delete", service, other)

    def exec(self, service: str, *command: str) -> str:
        """What a command in its first container wrote."""
        container, *_ = self.containers(service)
        return self.exec_in(container.name, *command)

    def exec_in(self, container: str | None, *command: str) -> str:
        """What a command in this container wrote.

        Raises:
            AssertionError: it failed; with what it wrote.
        """
        status, output = self._docker.containers.get(container).exec_run(list(command))
        text: str = output.decode()
        assert status == 0, text
        return text

    def look(self, *command: str) -> str:
        """What Redis says to who may only look.

        Raises:
            AssertionError: it is not allowed, or Redis is away.
        """
        return self.exec("redis", "look", *command).strip()

    def steps_learned(self, engine: str) -> int:
        """As the engine's forecast says; 0 where there is none."""
        with contextlib.suppress(AssertionError, ValueError, docker.errors.APIError):
            steps: int = msgspec.json.decode(self.look("get", forecast_key(engine)))["steps_learned"]
            return steps
        return 0

    def derive(self, service: str, version: str, commands: Sequence[str]) -> None:
        """Make another version of one of our images: what it is after these commands of a shell.

        Raises:
            docker.errors.BuildError: one of them failed.
        """
        image = f"{IMAGES}/{service}"
        steps = [f"FROM {image}:dev", "USER root", *(f"RUN {command}" for command in commands), "USER synergy"]
        recipe = io.BytesIO("\n".join(steps).encode())
        self._docker.images.build(fileobj=recipe, tag=f"{image}:{version}", network_mode="none", rm=True)

    def untag(self, image: str, version: str) -> None:
        """Call it so no longer."""
        self._docker.images.remove(f"{IMAGES}/{image}:{version}")

    def replace(self, service: str, version: str = "dev") -> None:
        """Put another version in a service's place: the old one leaves, then the new one comes."""
        self.compose("up", "--detach", "--no-deps", "--force-recreate", service, SYNERGY_VERSION=version)
        self.well()

    def relieve(self, service: str, version: str = "dev") -> None:
        """Put another version beside a service's only container, and take that one away when the new one is well."""
        (before,) = self.containers(service)
        self.compose(
            *("up", "--detach", "--no-deps", "--no-recreate", "--scale", f"{service}=2", service),
            SYNERGY_VERSION=version,
        )
        self.well()
        before.stop(timeout=int(UP_WITHIN_S))
        before.remove()

    def lose_volume(self, service: str, volume: str) -> None:
        """End a service as a crash would, forget what it kept, and start it anew."""
        self.compose("rm", "--force", "--stop", service)
        for container in self._docker.containers.list(all=True, filters={"volume": f"{self.project}_{volume}"}):
            container.remove(force=True)  # one that has run to its end and had a hand in it
        self._docker.volumes.get(f"{self.project}_{volume}").remove()
        self.up()

    def _firewall(self, action: str, service: str, other: str) -> None:
        from_container, *_ = self.containers(service)
        for container in self.containers(other):
            for network in container.attrs["NetworkSettings"]["Networks"].values():
                subprocess.run(
                    [
                        *("nsenter", "--net", "--target", str(self._pid(from_container))),
                        *("iptables", action, "OUTPUT", "--destination", network["IPAddress"], "--jump", "DROP"),
                    ],
                    check=True,
                )

    @staticmethod
    def _pid(container: Container) -> int:
        container.reload()
        pid: int = container.attrs["State"]["Pid"]
        assert pid, f"{container.name} does not run"
        return pid


def _restarts(container: Container) -> int:
    container.reload()
    count: int = container.attrs["RestartCount"]
    return count


@contextlib.contextmanager
def started(system: ComposeSystem) -> Iterator[ComposeSystem]:
    """It, up from nothing; nothing of it is left."""
    system.down()
    try:
        system.up()
        yield system
    finally:
        system.down()

"""A fleet of one's choice in place of the two unequal engines: what supervisor is told then, and where they listen."""

import configparser
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from infra.native.ports import HOST, free_port_numbers

REAL = "llamacpp"
"""In place of a profile: an engine that runs the bundled model."""

LensSettings = Mapping[str, Mapping[str, str]]
"""By the engine's name, what its lens alone is told, by the key of the environment."""
NONE_OF_ITS_OWN: Mapping[str, str] = MappingProxyType({})
NO_LENS_SETTINGS: LensSettings = MappingProxyType({})
ROUTER = "prism"
RouterSettings = Mapping[str, Mapping[str, str]]
"""By a further router's name, what it alone is told, by the key of the environment."""
NO_ROUTERS: RouterSettings = MappingProxyType({})


class ChosenEngine(NamedTuple):
    """One engine with its lens; `profile` may be `REAL`."""

    name: str
    profile: str
    seed: int
    engine_port: int
    lens_port: int


class FurtherRouter(NamedTuple):
    """Another prism before the same engines."""

    name: str
    settings: Mapping[str, str]
    port: int

    @property
    def program(self) -> str:
        """What supervisor calls it."""
        return f"{ROUTER}-{self.name}"


def further_routers(settings: RouterSettings, besides: Collection[int] = ()) -> tuple[FurtherRouter, ...]:
    """Each on a free port, besides those that the others have."""
    ports = free_port_numbers(len(settings), besides)
    return tuple(FurtherRouter(name, told, port) for (name, told), port in zip(settings.items(), ports, strict=True))


def chosen_engines(profiles: Sequence[str], besides: Collection[int] = ()) -> tuple[ChosenEngine, ...]:
    """An engine a profile, on free ports besides those of others; engines of one profile are numbered, and their noise differs."""
    names = [_name(profile) for profile in profiles]
    ports = iter(free_port_numbers(2 * len(profiles), besides))
    return tuple(
        ChosenEngine(_numbered(names, place), profile, place, next(ports), next(ports))
        for place, profile in enumerate(profiles)
    )


def _name(profile: str) -> str:
    return Path(profile).name.removesuffix(".json").replace(".", "-")  # a dot would split a NATS subject


def _numbered(names: Sequence[str], place: int) -> str:
    name = names[place]
    return name if names.count(name) == 1 else f"{name}-{1 + names[:place].count(name)}"


def configuration(
    template: Path,
    engines: Sequence[ChosenEngine],
    lens_settings: LensSettings = NO_LENS_SETTINGS,
    routers: Sequence[FurtherRouter] = (),
) -> str:
    """Supervisor's configuration with these engines and lenses, if any, instead of the template's, and with further routers."""
    parser = configparser.RawConfigParser()
    parser.read_string(template.read_text())
    if engines:
        _replace_engines(parser, engines, lens_settings)
    _add_routers(parser, routers)
    written = io.StringIO()
    parser.write(written)
    return written.getvalue()


def _replace_engines(
    parser: configparser.RawConfigParser, engines: Sequence[ChosenEngine], lens_settings: LensSettings
) -> None:
    settings = {kind: parser[f"program:{kind}-large"] for kind in ("engine", "lens")}
    common = {
        kind: {option: section[option] for option in ("command", "stopwaitsecs")} for kind, section in settings.items()
    }
    for section in parser.sections():
        if section.startswith(("program:engine-", "program:lens-")):
            parser.remove_section(section)
    for engine in engines:
        parser[f"program:engine-{engine.name}"] = common["engine"] | {"environment": _written(_engine_keys(engine))}
        lens_keys = {**lens_settings.get(engine.name, NONE_OF_ITS_OWN), **_lens_keys(engine)}
        parser[f"program:lens-{engine.name}"] = common["lens"] | {"environment": _written(lens_keys)}
    for group, kind in (("engines", "engine"), ("lenses", "lens")):
        parser[f"group:{group}"]["programs"] = ", ".join(f"{kind}-{engine.name}" for engine in engines)


def _add_routers(parser: configparser.RawConfigParser, routers: Sequence[FurtherRouter]) -> None:
    template = parser[f"program:{ROUTER}"]
    common = {option: template[option] for option in ("command", "stopwaitsecs")}
    for router in routers:
        keys = {**router.settings, "PRISM_PORT": str(router.port)}
        parser[f"program:{router.program}"] = common | {"environment": _written(keys)}
    parser["group:routing"]["programs"] = ", ".join((ROUTER, *(router.program for router in routers)))


def _engine_keys(engine: ChosenEngine) -> Mapping[str, str]:
    common = {"ENGINE_GRPC_PORT": str(engine.engine_port), "TMPDIR": "%(ENV_SYNERGY_RUN_DIR)s/tmp"}
    if engine.profile == REAL:
        return common
    return {
        **common,
        "ENGINE_EXECUTOR": "emulated",
        "ENGINE_PROFILE": engine.profile,
        "ENGINE_SEED": str(engine.seed),
    }


def _lens_keys(engine: ChosenEngine) -> Mapping[str, str]:
    return {
        "LENS_ENGINE": engine.name,
        "LENS_ENGINE_GRPC": f"{HOST}:{engine.engine_port}",
        "LENS_PORT": str(engine.lens_port),
    }


def _written(environment: Mapping[str, str]) -> str:
    return ", ".join(f'{key}="{value}"' for key, value in environment.items())

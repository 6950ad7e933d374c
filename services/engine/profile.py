"""GPU profiles: a named GPU and model as measured tables, read from a file; the emulated engine and the simulator run by them."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import msgspec

PROFILES_FOLDER = Path(__file__).parent / "profiles"

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Table = Annotated[tuple[tuple[Count, NotNegative], ...], msgspec.Meta(min_length=1)]
"""(size, ms), by ascending size; the ms do not fall."""


class BadProfile(ValueError):
    """A profile that cannot be used: `path`, the `field` at fault where there is one, and the `problem`."""

    def __init__(self, path: Path, field: str | None, problem: str) -> None:
        self.path = path
        self.field = field
        self.problem = problem
        super().__init__(f"{path}: {problem}" if field is None else f"{path}: {field}: {problem}")


class UnknownProfile(ValueError):
    """No profile has this name; says which there are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no profile {name!r}; there are {', '.join(known)}, or name a .json file")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a step costs on one GPU with one model, and what fits there; see `emulation` for how the costs add up."""

    name: str
    hardware_class: str
    model: str
    source: str
    """Where the constants were measured, and which of them are estimates."""

    max_context_tokens: Count
    max_step_tokens: Count
    max_slots: Count
    kv_block_tokens: Count
    kv_blocks_total: Count

    tile_tokens: Count
    """Matrix kernels run whole tiles: the tokens of a step are rounded up to them."""
    floor_ms: Table
    """Weights and matrix products, by tokens: interpolated, and beyond the last row as steep as before it."""
    graph_ms: Table
    """What sequences cost, by the sizes that graphs are captured for: decodes run in the next larger one, and beyond the
    last in proportion; a step that prefills has no graph, and costs what lies between the rows."""
    kv_ms_per_token: NotNegative
    """Of attention, by tokens in the cache."""
    work_ms_per_token2: NotNegative
    """Of attention, by Σ cᵢ(kᵢ + cᵢ/2) over prefill chunks."""
    mixed_ms: NotNegative
    """What a step costs more because it prefills."""
    mixed_kv_factor: Annotated[float, msgspec.Meta(gt=0.0)]
    """How much more reading the cache costs in a step that prefills."""

    residuals: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]
    """Actual ÷ expected − 1 of real steps, in their order."""
    residuals_source: str
    block_steps: Count
    """Steps that are drawn from the residuals in one piece, so that noise keeps its memory."""
    stall_share: Share
    """Of steps that stall on top."""
    stall_ms: NotNegative
    """The mean of a stall."""


def known_profiles() -> tuple[str, ...]:
    """The names of the profiles that come with the engine."""
    return tuple(sorted(path.stem for path in PROFILES_FOLDER.glob("*.json")))


def load_profile(name_or_path: str | Path) -> Profile:
    """The profile of this name, or in this `.json` file.

    Raises:
        UnknownProfile: it is neither the name of a profile nor a `.json` file.
        BadProfile: the file cannot be read, or holds no profile.
    """
    name = str(name_or_path)
    if name in known_profiles():
        return read_profile(PROFILES_FOLDER / f"{name}.json")
    if Path(name).suffix != ".json":
        raise UnknownProfile(name, known_profiles())
    return read_profile(Path(name))


def read_profile(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        BadProfile: the file cannot be read, or holds no profile.
    """
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise BadProfile(path, None, error.strerror or str(error)) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise BadProfile(path, None, str(error)) from error
    except msgspec.MsgspecError as error:
        problem, _, place = str(error).partition(" - at `$.")
        raise BadProfile(path, place.removesuffix("`") or None, problem) from error
    for field in ("floor_ms", "graph_ms"):
        if (fault := _table_fault(getattr(profile, field))) is not None:
            raise BadProfile(path, field, fault)
    if profile.floor_ms[0][1] == 0.0:
        raise BadProfile(path, "floor_ms", "no step takes no time")
    if profile.max_step_tokens < profile.max_slots:
        problem = (
            f"{profile.max_step_tokens} is below max_slots, {profile.max_slots}: each sequence needs a token of a step"
        )
        raise BadProfile(path, "max_step_tokens", problem)
    if not all(residual > -1.0 for residual in profile.residuals):
        raise BadProfile(path, "residuals", "a step of no or less than no time")
    if profile.block_steps > len(profile.residuals):
        raise BadProfile(path, "block_steps", f"{profile.block_steps} is more than there are residuals")
    return profile


def _table_fault(table: Table) -> str | None:
    for (size, ms), (next_size, next_ms) in pairwise(table):
        if next_size <= size:
            return f"{next_size} comes after {size}; sizes must ascend"
        if next_ms < ms:
            return f"{next_ms} ms for {next_size} after {ms} ms for {size}; more must not take less"
    return None

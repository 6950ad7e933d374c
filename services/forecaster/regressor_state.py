"""A step-time regressor as it persists: plain numbers, checked when they are read, since another hand may have written them."""

from typing import Annotated

import msgspec
import numpy as np

from services.forecaster.calibration import RegimeState

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]


class RegressorState(msgspec.Struct, frozen=True, kw_only=True):
    """A regressor as plain numbers; it goes on from them exactly as if it had never stopped."""

    features: tuple[str, ...]
    steps: Count
    steps_since_drift: Count | None
    unit_s: Seconds
    typical_unit_s: Seconds
    free_s: tuple[Number, ...]
    root_s: tuple[tuple[Number, ...], ...]
    bound: tuple[int, ...]
    steps_to_cap: Annotated[int, msgspec.Meta(ge=1)]
    coefficients_s: tuple[Annotated[float, msgspec.Meta(ge=0.0, le=1e9)], ...]
    shortest_unit_s: Seconds
    decode: RegimeState
    mixed: RegimeState

    def __post_init__(self) -> None:
        """Raises ValueError: the numbers cannot be those of a regressor."""
        width = len(self.features)
        lengths = {len(self.free_s), len(self.coefficients_s), len(self.root_s), *map(len, self.root_s)}
        if lengths != {width}:
            raise ValueError(f"{width} features, but numbers for {sorted(lengths)}")
        if len(set(self.bound)) != len(self.bound) or not set(self.bound) <= set(range(width)):
            raise ValueError(f"no features {list(self.bound)} among {width}")
        if not np.isfinite(np.linalg.slogdet(np.array(self.root_s))[1]):
            raise ValueError("a root without an inverse")

"""Step models by the names of their coefficients."""

from shared.steptime import FEATURES, Residuals, StepModel

PLAIN = Residuals()


def step_model(
    *,
    floor_s: float = 0.0,
    decode_residuals: Residuals = PLAIN,
    mixed_residuals: Residuals = PLAIN,
    **coefficients_s: float,
) -> StepModel:
    """The law with these coefficients, in seconds; the rest are 0."""
    assert coefficients_s.keys() <= set(FEATURES)
    return StepModel(
        coefficients_s=tuple(coefficients_s.get(name, 0.0) for name in FEATURES),
        floor_s=floor_s,
        decode=decode_residuals,
        mixed=mixed_residuals,
    )

"""Where things are: NATS subjects and Redis keys, each carrying the schema version."""

TELEMETRY_STREAM = "SYNERGY_TELEMETRY"
TELEMETRY_SUBJECTS = "synergy.v1.telemetry.*"

ENGINES_KEY = "synergy:v1:engines"
"""A set of the names of engines that have announced themselves and not left; only those with an engine key are in the pool."""

REQUESTS_STREAM_KEY = "synergy:v1:requests"
"""A capped Redis stream: the outcome of each finished request, of all engines."""


def telemetry_subject(engine: str) -> str:
    """The NATS subject of one engine's telemetry."""
    return f"synergy.v1.telemetry.{engine}"


def engine_key(engine: str) -> str:
    """The Redis key by which lens announces an engine; it lives for `ENGINE_KEY_LIFETIME_S`."""
    return f"synergy:v1:engine:{engine}"


def forecast_key(engine: str) -> str:
    """The Redis key of an engine's forecast; it does not expire, its age widens the intervals."""
    return f"synergy:v1:forecast:{engine}"


def model_key(engine: str) -> str:
    """The Redis key of an engine's learned model, with the position in the telemetry that it has learned up to."""
    return f"synergy:v1:model:{engine}"


def steps_stream_key(engine: str) -> str:
    """A capped Redis stream: predicted and actual duration of each step."""
    return f"synergy:v1:steps:{engine}"


ENGINE_KEY_LIFETIME_S = 3

"""Where things are: NATS subjects and Redis keys, each carrying the schema version."""

TELEMETRY_STREAM = "SYNERGY_TELEMETRY"
TELEMETRY_SUBJECTS = "synergy.v1.telemetry.*"
"""As lens publishes; the stream stores each message under its partition, `synergy.v1.telemetry.<partition>.<engine>`."""

LENS_INBOX, FORECASTER_INBOX = b"_INBOX_lens", b"_INBOX_forecaster"
"""What answers of the broker come to: one a service, so that neither may hear what is for the other."""

ENGINES_KEY = "synergy:v1:engines"
"""A set of the names of engines that have announced themselves and not left; only those with an engine key are in the pool."""

CHANGES_KEY = "synergy:v1:changes"
"""A sorted set: the keys of engines, forecasts and reservations that have changed of late, by when: µs of Redis TIME, strictly
growing. `shared.fleet_scripts` says who marks what, and how a reader catches up."""

REQUESTS_STREAM_KEY = "synergy:v1:requests"
"""A capped Redis stream: the outcome of each finished request, of all engines."""

RECEIPTS_STREAM_KEY = "synergy:v1:receipts"
"""A capped Redis stream: what routers promised and what came of it; an entry has one `shared.receipt.Receipt` as JSON."""

SET_ASIDE_KEY = "synergy:v1:set-aside"
"""A capped Redis stream: telemetry that nothing was learned from, with the reason and its place in JetStream."""

API_KEYS_KEY = "synergy:v1:api-keys"
"""A Redis hash: what each API key grants, as JSON, by the SHA-256 of the key; `python -m services.prism.keys new` makes both."""

FORECASTERS_KEY = "synergy:v1:forecasters"
"""A sorted set: the forecaster replicas that live, by the time of their last sign of life, ms of Redis TIME."""


def telemetry_subject(engine: str) -> str:
    """The NATS subject of one engine's telemetry."""
    return f"synergy.v1.telemetry.{engine}"


def partition_subjects(partition: int | str) -> str:
    """The NATS subjects of a partition's engines in the stream."""
    return f"synergy.v1.telemetry.{partition}.*"


def stored_telemetry_subject(engine: str) -> str:
    """The NATS subject of one engine's telemetry in the stream, whatever its partition."""
    return partition_subjects("*").removesuffix("*") + engine


def engine_key(engine: str) -> str:
    """The Redis key by which lens announces an engine; it lives for `ENGINE_KEY_LIFETIME_S`."""
    return f"synergy:v1:engine:{engine}"


def prefixes_key(engine: str) -> str:
    """A Redis set: the blocks of text that an engine's cache holds, written before the state that tells of them; it lives
    for `ENGINE_KEY_LIFETIME_S`."""
    return f"synergy:v1:prefixes:{engine}"


def forecast_key(engine: str) -> str:
    """The Redis key of an engine's forecast; it does not expire, its age widens the intervals."""
    return f"synergy:v1:forecast:{engine}"


def reserved_key(engine: str) -> str:
    """A Redis hash: requests on their way to an engine that its state does not show yet. `replica:number` has `µs:prompt
    tokens:interval` of `DUE_EDGES_S`, from 1; `requests#interval` and `prompt_tokens#interval` have the totals."""
    return f"synergy:v1:reserved:{engine}"


def model_key(engine: str) -> str:
    """The Redis key of an engine's learned model; `partition_key` says up to where in the telemetry."""
    return f"synergy:v1:model:{engine}"


def steps_stream_key(engine: str) -> str:
    """A capped Redis stream: an entry holds some steps, as JSON arrays `step`, `predicted_ms` and `actual_ms`."""
    return f"synergy:v1:steps:{engine}"


def unreadable_model_key(engine: str) -> str:
    """The Redis key of a model that the forecaster could not read, kept for inspection; the engine is learned anew."""
    return f"synergy:v1:unreadable-model:{engine}"


def rate_key(key_digest: str) -> str:
    """The Redis key of an API key's rate: when, in us of Redis TIME, it may have all its requests again; it expires then."""
    return f"synergy:v1:rate:{key_digest}"


def partition_key(partition: int | str) -> str:
    """A Redis hash: which forecaster replica holds a partition of the engines, and how far that has been learned."""
    return f"synergy:v1:partition:{partition}"


ENGINE_KEY_LIFETIME_S = 3

RESERVATION_LIFETIME_S = 5
"""A request that its engine has not heard of for so long is not on its way any more."""

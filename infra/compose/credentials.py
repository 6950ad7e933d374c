"""`python -m infra.compose.credentials`: passwords for NATS and Redis, made once, a folder a service.

Each container mounts its own folder alone. The servers' folders hold what each user may do; a service's holds the addresses that it
connects to, with its password in them. Nothing is printed, and nothing is made again as long as all of it is there.
"""

import secrets
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from shared.names import FORECASTER_INBOX, LENS_INBOX, TELEMETRY_STREAM, TELEMETRY_SUBJECTS

FOLDER = Path("/credentials")
NATS_ADDRESS, REDIS_ADDRESS = "nats:4222", "redis:6379"
PASSWORD_BYTES = 24

READ_BY_ITS_OWNER, READ_BY_ANY = 0o400, 0o444
"""NATS and Redis run as users of their own; nobody else mounts their folders."""

SERVICES = ("lens", "forecaster", "prism")
CALLED_BY_HAND = ("inspect", "grant")
"""Users of Redis for who is at its container's command line: one may read all, the other gives and takes API keys."""
ACTS = "+@read +@write +@connection +@transaction +eval +evalsha +script|load -function -@dangerous -scan -randomkey -dbsize +time"
REDIS_RULES: Mapping[str, str] = {
    "lens": f"{ACTS} ~synergy:v1:engines ~synergy:v1:engine:* ~synergy:v1:prefixes:* ~synergy:v1:reserved:* "
    "~synergy:v1:changes %R~synergy:v1:forecast:*",
    "forecaster": f"{ACTS} +info +scan ~synergy:v1:forecast:* ~synergy:v1:model:* ~synergy:v1:unreadable-model:* ~synergy:v1:steps:* "
    "~synergy:v1:requests ~synergy:v1:set-aside ~synergy:v1:forecasters ~synergy:v1:partition:* ~synergy:v1:changes",
    "prism": f"{ACTS} ~synergy:v1:engines ~synergy:v1:reserved:* ~synergy:v1:changes ~synergy:v1:receipts ~synergy:v1:rate:* "
    "%R~synergy:v1:engine:* %R~synergy:v1:forecast:* %R~synergy:v1:prefixes:* %R~synergy:v1:api-keys",
    "inspect": "+@read +@connection -@dangerous +time +info +dbsize +memory|usage %R~synergy:*",
    "grant": "+@connection +hset +hdel +hgetall ~synergy:v1:api-keys",
}
"""What each user may do, and with which keys."""
NATS_RULES: Mapping[str, str] = {
    "lens": f'{{publish: ["{TELEMETRY_SUBJECTS}"], subscribe: ["{LENS_INBOX.decode()}.>"]}}',
    "forecaster": "{publish: ["
    + "".join(f'"$JS.API.STREAM.{act}.{TELEMETRY_STREAM}", ' for act in ("INFO", "CREATE", "UPDATE"))
    + f'"$JS.API.CONSUMER.*.{TELEMETRY_STREAM}.>", "$JS.API.CONSUMER.MSG.NEXT.{TELEMETRY_STREAM}.*"], '
    f'subscribe: ["{FORECASTER_INBOX.decode()}.>"]}}',
}


def files(passwords: Mapping[str, str]) -> Mapping[str, tuple[str, int]]:
    """Text and mode of each file, by its path; `passwords` has one a user and server, as `redis/lens`."""
    made = {
        "redis/users.acl": (_redis_users(passwords), READ_BY_ANY),
        "nats/users.conf": (_nats_users(passwords), READ_BY_ANY),
    }
    for user in CALLED_BY_HAND:
        made[f"redis/{user}"] = (passwords[f"redis/{user}"], READ_BY_ANY)
    for service in SERVICES:
        redis_url = f"redis://{service}:{passwords[f'redis/{service}']}@{REDIS_ADDRESS}/0"
        made[f"{service}/redis_url"] = (redis_url, READ_BY_ITS_OWNER)
        if service in NATS_RULES:
            nats_url = f"nats://{service}:{passwords[f'nats/{service}']}@{NATS_ADDRESS}"
            made[f"{service}/nats_url"] = (nats_url, READ_BY_ITS_OWNER)
    return made


def _redis_users(passwords: Mapping[str, str]) -> str:
    lines = ["user default off"]
    for name, rules in REDIS_RULES.items():
        digest = sha256(passwords[f"redis/{name}"].encode()).hexdigest()
        lines.append(f"user {name} on #{digest} resetchannels -@all {rules}")
    return "\n".join(lines) + "\n"


def _nats_users(passwords: Mapping[str, str]) -> str:
    users = "\n".join(
        f'    {{user: {name}, password: "{passwords[f"nats/{name}"]}", permissions: {rules}}}'
        for name, rules in NATS_RULES.items()
    )
    return f"authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def main(folder: Path = FOLDER) -> int:
    """Make what is not there: all of it, unless all of it is."""
    users = [*(f"redis/{name}" for name in REDIS_RULES), *(f"nats/{name}" for name in NATS_RULES)]
    made = files({user: secrets.token_urlsafe(PASSWORD_BYTES) for user in users})
    if all((folder / path).exists() for path in made):
        return 0
    for path, (text, mode) in made.items():
        _write(folder / path, text, mode)
    return 0


def _write(file: Path, text: str, mode: int) -> None:
    """All of it or nothing, and never readable by others meanwhile."""
    draft = file.with_name(f".{file.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(file)


if __name__ == "__main__":
    sys.exit(main())

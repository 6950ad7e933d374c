"""`python -m infra.compose.credentials`: passwords for NATS and Redis, made once, a folder a service.

Each container mounts its own folder alone. The servers' folders hold what each user may do; a service's holds the addresses that it
connects to, with its password in them. Nothing is printed, and nothing is made again as long as all of it is there.
"""

import secrets
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

FOLDER = Path("/credentials")
NATS_ADDRESS, REDIS_ADDRESS = "nats:4222", "redis:6379"
PASSWORD_BYTES = 24

READ_BY_ITS_OWNER, READ_BY_ANY = 0o400, 0o444
"""NATS and Redis run as users of their own; nobody else mounts their folders."""

SERVICES = ("lens", "forecaster", "prism")
ACTS = "+@read +@write +@connection +@scripting +@transaction -@dangerous +time"
REDIS_RULES: Mapping[str, str] = {
    "lens": f"{ACTS} ~synergy:v1:engines ~synergy:v1:engine:* ~synergy:v1:prefixes:* ~synergy:v1:reserved:* "
    "~synergy:v1:changes %R~synergy:v1:forecast:*",
    "forecaster": f"{ACTS} +info ~synergy:v1:forecast:* ~synergy:v1:model:* ~synergy:v1:unreadable-model:* ~synergy:v1:steps:* "
    "~synergy:v1:requests ~synergy:v1:set-aside ~synergy:v1:forecasters ~synergy:v1:partition:* ~synergy:v1:changes",
    "prism": f"{ACTS} ~synergy:v1:engines ~synergy:v1:reserved:* ~synergy:v1:changes ~synergy:v1:receipts ~synergy:v1:rate:* "
    "%R~synergy:v1:engine:* %R~synergy:v1:forecast:* %R~synergy:v1:prefixes:* %R~synergy:v1:api-keys",
    "inspect": "+@read +@connection -@dangerous +time +info +dbsize +memory|usage %R~synergy:*",
}
"""What each user may do, and with which keys."""
NATS_RULES: Mapping[str, str] = {
    "lens": '{publish: ["synergy.v1.telemetry.*"], subscribe: ["_INBOX.>"]}',
    "forecaster": '{publish: ["$JS.API.STREAM.*.SYNERGY_TELEMETRY", "$JS.API.CONSUMER.>", "$JS.ACK.>"], '
    'subscribe: ["_INBOX.>"]}',
}


def files(passwords: Mapping[str, str]) -> Mapping[str, tuple[str, int]]:
    """Text and mode of each file, by its path; `passwords` has one a user."""
    made = {
        "redis/users.acl": (_redis_users(passwords), READ_BY_ANY),
        "redis/inspect": (passwords["inspect"], READ_BY_ANY),
        "nats/users.conf": (_nats_users(passwords), READ_BY_ANY),
    }
    for service in SERVICES:
        made[f"{service}/redis_url"] = (
            f"redis://{service}:{passwords[service]}@{REDIS_ADDRESS}/0",
            READ_BY_ITS_OWNER,
        )
        if service in NATS_RULES:
            made[f"{service}/nats_url"] = (f"nats://{service}:{passwords[service]}@{NATS_ADDRESS}", READ_BY_ITS_OWNER)
    return made


def _redis_users(passwords: Mapping[str, str]) -> str:
    lines = ["user default off"]
    lines += [
        f"user {name} on #{sha256(passwords[name].encode()).hexdigest()} resetchannels -@all {rules}"
        for name, rules in REDIS_RULES.items()
    ]
    return "\n".join(lines) + "\n"


def _nats_users(passwords: Mapping[str, str]) -> str:
    users = "\n".join(
        f'    {{user: {name}, password: "{passwords[name]}", permissions: {rules}}}'
        for name, rules in NATS_RULES.items()
    )
    return f"authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def main(folder: Path = FOLDER) -> int:
    """Make what is not there."""
    made = files({name: secrets.token_urlsafe(PASSWORD_BYTES) for name in REDIS_RULES})
    if all((folder / path).exists() for path in made):
        return 0
    for path, (text, mode) in made.items():
        file = folder / path
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(text)
        file.chmod(mode)
    return 0


if __name__ == "__main__":
    sys.exit(main())

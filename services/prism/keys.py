"""`python -m services.prism.keys new --tenant acme`: a new API key, shown this once, and the entry by which prism knows it."""

import argparse
import secrets
import sys

import msgspec

from services.prism.grants import Grant, digest_of
from shared.names import API_KEYS_KEY

PREFIX = "sk-synergy-"
"""So that a key is recognised for one where it should not be."""
KEY_BYTES = 32


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    given = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    del given["command"]
    try:
        grant = msgspec.convert(given, Grant)
    except msgspec.ValidationError as error:
        sys.exit(str(error))
    key = new_key()
    digest, entry = digest_of(key), msgspec.json.encode(grant).decode()
    print(f"key, shown only now:   {key}")
    print(f'for PRISM_KEYS_FILE:   "{digest}": {entry}')
    print(f"or for Redis:          HSET {API_KEYS_KEY} {digest} '{entry.replace(chr(39), chr(92) + chr(39))}'")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.prism.keys", description="API keys of prism's clients.")
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a key", description="What is not said is not bounded.")
    new.add_argument("--tenant", required=True, help="whose requests it makes")
    new.add_argument("--priority-ceiling", type=int, metavar="N", help="the highest priority it may ask for (0)")
    new.add_argument("--requests-per-s", type=float, metavar="N")
    new.add_argument("--burst", type=int, metavar="N", help="requests at once (a second's worth)")
    new.add_argument("--slo-class", metavar="NAME", help="of its requests that name none")
    new.add_argument("--least-ttft-ms", type=float, metavar="MS", help="a tighter target is raised to it")
    new.add_argument("--least-tpot-ms", type=float, metavar="MS", help="as well")
    new.add_argument("--model", action="append", dest="models", metavar="NAME", help="that it may use; may be repeated")
    return parser


if __name__ == "__main__":
    main()

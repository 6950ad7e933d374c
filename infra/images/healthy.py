"""`python3 healthy.py URL`: exit status 0 where a GET is answered with success, for a container's health check."""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 2.0


def main(url: str) -> int:
    """0 or 1; says why it is 1."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310 - the address is the compose file's
            return 0
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        print(error)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

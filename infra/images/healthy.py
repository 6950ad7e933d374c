"""`python3 healthy.py URL`: exit status 0 where a GET is answered with success, for a container's health check."""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 2.0
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Docker may put a proxy into every container's environment."""


def main(url: str) -> int:
    """0 or 1; says why it is 1."""
    try:
        with DIRECTLY.open(url, timeout=TIMEOUT_S):
            return 0
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        print(error)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

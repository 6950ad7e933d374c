"""How many connections a process may have at once."""

import resource


def allow_many_connections() -> None:
    """Every stream has a connection of its own, or two; the usual soft limit of 1,024 files would refuse them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

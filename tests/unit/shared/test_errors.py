import pytest

from shared.errors import ApiError, Overloaded


@pytest.mark.parametrize(("after_s", "whole", "ms"), [(0.1, "1", "100"), (1.0, "1", "1000"), (2.0004, "3", "2001")])
def test_when_to_try_again_is_said_in_seconds_and_milliseconds_never_too_early(after_s, whole, ms):
    assert Overloaded("full", retry_after_s=after_s).headers == {"retry-after": whole, "retry-after-ms": ms}


def test_where_trying_again_is_no_use_nothing_is_said_of_it():
    assert ApiError("no").headers == {}

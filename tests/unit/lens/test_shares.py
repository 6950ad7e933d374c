from services.lens.shares import MOST_TENANTS, TenantShares


def test_what_is_served_adds_up_by_tenant():
    shares = TenantShares()
    shares.serve("a", 3)
    shares.serve("b", 5)
    shares.serve("a", 4)
    assert shares.tokens == {"a": 7, "b": 5}


def test_who_comes_back_has_not_saved_up():
    shares = TenantShares()
    shares.serve("busy", 100)
    shares.arrive("away", {"busy"})
    assert shares.tokens["away"] == 100


def test_who_comes_back_still_has_had_what_it_had():
    shares = TenantShares()
    shares.serve("greedy", 100)
    shares.serve("busy", 40)
    shares.arrive("greedy", {"busy"})
    assert shares.tokens["greedy"] == 100


def test_another_request_of_one_who_is_here_changes_nothing():
    shares = TenantShares()
    shares.serve("b", 9)
    shares.arrive("a", {"a", "b"})
    assert shares.tokens.get("a", 0) == 0


def test_tenants_without_end_are_not_remembered_without_end():
    shares = TenantShares()
    for number in range(2 * MOST_TENANTS):
        shares.arrive(str(number), {"0"})
        shares.serve(str(number), 1)
    assert len(shares.tokens) <= MOST_TENANTS + 1
    assert "0" in shares.tokens

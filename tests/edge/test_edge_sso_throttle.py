"""Who tries passwords waits: by address, and by account but in browsers that the account knows."""

from services.edge.sso import known
from services.edge.sso.throttle import ACCOUNT_TIMES, MANY, Guess, Guesses, Throttle, source_of


def test_who_fails_too_often_waits_and_is_told_of_in_sums() -> None:
    throttle = Throttle(attempts_max=10, window_s=60, block_s=300)
    told = [throttle.failed("a", 1.0) for _ in range(10)]
    assert told == [1, 0, 0, 0, 0, 0, 0, 0, 0, 9]
    assert throttle.waits_s("a", 2.0) == 299 and throttle.waits_s("b", 2.0) == 0 and throttle.waits_s("a", 302.0) == 0
    assert throttle.failed("a", 303.0) == 1
    throttle.succeeded("a")
    assert throttle.waits_s("a", 304.0) == 0
    for n in range(20_000):
        throttle.failed(str(n), 400.0)
    assert len(throttle._sources) <= 10_000


def test_guesses_that_were_under_way_when_a_source_began_to_wait_do_not_end_that() -> None:
    throttle = Throttle(attempts_max=3, window_s=60, block_s=300)
    assert [throttle.failed("a", 1.0) for _ in range(8)] == [1, 0, 2, 0, 0, 0, 0, 0]
    assert throttle.waits_s("a", 2.0) == 299
    assert throttle.failed("a", 302.0) == 6, "and they are told of with the next"


def test_an_account_waits_where_many_try_it_but_not_for_browsers_that_it_knows() -> None:
    guesses, account = Guesses(Throttle(attempts_max=3, window_s=60, block_s=300)), known.account_of("Ann ")
    assert account == known.account_of("ann") != known.account_of("bob")
    for number in range(ACCOUNT_TIMES * 3):
        guess = Guess(f"192.0.2.{number}", account)
        assert guesses.waits_s(guess, 1.0) == 0
        told = guesses.failed(guess, 1.0)
    assert told == [("192.0.2.29", 1), (MANY, 29)], "that it waits is told of once"
    stranger, elsewhere = Guess("198.51.100.1", account), Guess("198.51.100.1", known.account_of("bob"))
    assert (guesses.waits_s(stranger, 2.0), guesses.waits_s(elsewhere, 2.0)) == (299, 0)
    key = bytes(32)
    cookie = known.told(key, account, "0123456789abcdef")
    browser = known.browser_of([b"x" * 32, key], account, cookie)
    assert browser == "0123456789abcdef" and guesses.waits_s(Guess(f"browser {browser}"), 2.0) == 0
    for _ in range(3):
        guesses.failed(Guess(f"browser {browser}"), 2.0)
    assert guesses.waits_s(Guess(f"browser {browser}"), 3.0) == 299, "it may not guess without end either"
    guesses.succeeded(stranger)
    assert guesses.waits_s(stranger, 2.0) == 299, "who got in elsewhere doesn't end it"
    for keys, of, sent in (
        ([b"x" * 32], account, cookie), ([key], known.account_of("bob"), cookie), ([key], account, cookie[:-1] + "é"),
        ([key], account, None), ([key], account, "0123456789abcdef"), ([], account, cookie),
    ):  # fmt: skip
        assert known.browser_of(keys, of, sent) is None


def test_a_network_of_ipv6_is_one_source() -> None:
    assert source_of("2001:db8:0:1::1") == source_of("2001:db8:0:1:ffff::2") == "2001:db8:0:1::/64"
    assert source_of("2001:db8:0:2::1") != source_of("2001:db8:0:1::1")
    assert (source_of("::ffff:192.0.2.1"), source_of("192.0.2.1")) == ("192.0.2.1", "192.0.2.1")
    assert (source_of(None), source_of("no address")) == ("unknown", "no address")

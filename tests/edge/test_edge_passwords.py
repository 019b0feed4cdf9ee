"""Digests of users' passwords."""

import pytest

from services.edge.sso import passwords

SALT = b"0123456789abcdef"
GOOD = "correct horse battery"


def test_a_digest_holds_for_its_password_alone() -> None:
    kept = passwords.digest(GOOD, SALT)
    assert passwords.holds(GOOD, kept)
    assert not passwords.holds(GOOD + " ", kept) and not passwords.holds("", kept)
    assert GOOD not in kept and kept != passwords.digest(GOOD, b"fedcba9876543210")


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "x",
        "md5$14$8$1$AAAA$AAAA",
        "scrypt$99$8$1$AAAA$AAAA",
        "scrypt$14$8$1$!$!",
        "scrypt$14$999999$1$AAAA$AAAA",
        "scrypt$0$8$1$AAAA$AAAA",
    ],
)
def test_what_cannot_be_read_is_nobodys(kept: str) -> None:
    assert not passwords.holds(GOOD, kept)


def test_nobodys_digest_costs_as_much_as_anybodys() -> None:
    assert passwords.NOBODYS.split("$")[:4] == passwords.digest(GOOD, SALT).split("$")[:4]
    assert not passwords.holds(GOOD, passwords.NOBODYS)


@pytest.mark.parametrize(
    ("password", "fits"), [("a" * 11, False), ("a" * 12, True), ("a" * 256, True), ("a" * 257, False)]
)
def test_how_long_a_password_is(password: str, fits: bool) -> None:
    assert passwords.fits(password) == fits

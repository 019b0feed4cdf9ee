"""The cache in front of a manager: one asking, refreshed ahead, last known good, nothing hidden
that went wrong.
"""

import asyncio
from collections.abc import Callable

import pytest

from shared.secrets import KeyManagement, Secret, SecretError, Secrets
from shared.secrets.base import ReadOnly, check_name
from shared.secrets.references import Reference, parse
from shared.settings import SettingsError


class Kept(ReadOnly):
    name = "hashicorp_vault"

    def __init__(self) -> None:
        self.values: dict[str, str] = {"A": "one"}
        self.asked: list[str] = []
        self.fails: SecretError | None = None
        self.delay_s = 0.0

    async def read(self, name: str) -> str | None:
        self.asked.append(name)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.fails is not None:
            raise self.fails
        return self.values.get(name)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


DOWN = SecretError("unreachable", "hashicorp_vault", "A")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of(kept: Kept, clock: Callable[[], float], environ: dict[str, str] | None = None, **settings: object) -> Secrets:
    management = KeyManagement(**{"system": "hashicorp_vault", **settings})
    return Secrets(
        environ or {}, management, make=lambda *_: kept, now=clock, deadline_s=0.2, ttl_s=100, missing_ttl_s=10
    )


def shown(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


async def test_the_manager_is_asked_once_for_all_who_want_a_name(kept: Kept, clock: Clock) -> None:
    kept.delay_s = 0.02
    secrets = of(kept, clock)
    found = await asyncio.gather(*(secrets.resolve("os.environ/A") for _ in range(50)))
    assert {shown(each) for each in found} == {"one"} and kept.asked == ["A"]
    assert shown(await secrets.resolve("os.environ/A")) == "one" and kept.asked == ["A"]


async def test_one_who_leaves_does_not_end_the_asking(kept: Kept, clock: Clock) -> None:
    kept.delay_s = 0.05
    secrets = of(kept, clock)
    leaving, staying = (asyncio.create_task(secrets.resolve("vault/A")) for _ in range(2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert shown(await staying) == "one" and kept.asked == ["A"]


async def test_a_value_is_fetched_again_ahead_of_its_end(kept: Kept, clock: Clock) -> None:
    secrets = of(kept, clock)
    await secrets.resolve("vault/A")
    kept.values["A"] = "two"
    clock.now = 60
    assert shown(await secrets.resolve("vault/A")) == "one"  # at once; the new one is on its way
    await asyncio.sleep(0.01)
    assert shown(await secrets.resolve("vault/A")) == "two"


async def test_the_last_value_stands_while_the_manager_is_down(kept: Kept, clock: Clock) -> None:
    secrets = of(kept, clock)
    await secrets.resolve("vault/A")
    kept.fails, clock.now = DOWN, 1000
    assert shown(await secrets.resolve("vault/A")) == "one"
    kept.fails, clock.now, kept.values["A"] = None, 1010, "two"
    assert shown(await secrets.resolve("vault/A")) == "two"


async def test_a_value_never_had_is_an_error_that_says_where(kept: Kept, clock: Clock) -> None:
    kept.fails = DOWN
    with pytest.raises(SecretError, match="hashicorp_vault: unreachable for 'A'"):
        await of(kept, clock).resolve("vault/A")
    kept.fails, kept.delay_s = None, 5
    with pytest.raises(SecretError, match="timeout"):
        await of(kept, clock).resolve("vault/A")


async def test_the_environment_stands_in_only_where_it_has_the_name(kept: Kept, clock: Clock) -> None:
    kept.fails = DOWN
    assert shown(await of(kept, clock, {"A": "local"}).resolve("os.environ/A")) == "local"
    with pytest.raises(SecretError):
        await of(kept, clock, {"A": ""}).resolve("os.environ/A")
    kept.fails = None
    assert shown(await of(kept, clock, {"A": "local", "B": "b"}).resolve("os.environ/A")) == "one"
    assert shown(await of(kept, clock, {"B": "b"}).resolve("os.environ/B")) == "b"
    assert await of(kept, clock).resolve("os.environ/C") is None


async def test_what_is_missing_is_remembered_shortly(kept: Kept, clock: Clock) -> None:
    secrets = of(kept, clock)
    assert await secrets.resolve("vault/B") is None and await secrets.resolve("vault/B") is None
    assert kept.asked == ["B"]
    kept.values["B"], clock.now = "b", 11
    assert shown(await secrets.resolve("vault/B")) == "b"


async def test_an_empty_secret_is_a_missing_one(kept: Kept, clock: Clock) -> None:
    kept.values["A"] = ""
    assert await of(kept, clock).resolve("vault/A") is None
    assert await Secrets({"X": ""}).resolve("os.environ/X") is None


async def test_a_refused_value_is_asked_for_again_at_once_and_once(kept: Kept, clock: Clock) -> None:
    secrets = of(kept, clock)
    old = await secrets.resolve("os.environ/A")
    assert old is not None
    kept.values["A"] = "two"
    assert shown(await secrets.again("os.environ/A", old)) == "two"
    asked = len(kept.asked)
    assert shown(await secrets.again("os.environ/A", old)) == "two" and len(kept.asked) == asked
    assert await secrets.again("os.environ/A", Secret("two")) is None  # still the same: nothing new to try


async def test_only_hosted_names_are_asked_and_never_the_managers_own(kept: Kept, clock: Clock) -> None:
    environ = {"A": "local", "HCP_VAULT_TOKEN": "t"}
    assert shown(await of(kept, clock, environ, hosted_keys=["B"]).resolve("os.environ/A")) == "local"
    assert shown(await of(kept, clock, environ, access_mode="write_only").resolve("os.environ/A")) == "local"
    assert shown(await of(kept, clock, environ).resolve("os.environ/HCP_VAULT_TOKEN")) == "t"
    assert kept.asked == []


async def test_two_hundred_names_of_a_slow_manager_come_side_by_side(kept: Kept, clock: Clock) -> None:
    kept.values = {f"K{n}": f"v{n}" for n in range(200)}
    kept.delay_s = 0.02
    started = asyncio.get_running_loop().time()
    found = await of(kept, clock).resolve_all(f"vault/K{n}" for n in range(200))
    assert [shown(found[f"vault/K{n}"]) for n in (0, 199)] == ["v0", "v199"]
    assert asyncio.get_running_loop().time() - started < 2


def test_references_are_told_from_values() -> None:
    assert parse("os.environ/A") == Reference("", "A")
    assert parse("vault/a/b") == Reference("hashicorp_vault", "a/b")
    assert parse("aws_kms/AQIC==") == Reference("aws_kms", "AQIC==")
    for value in ("sk-1234", "openai/gpt-4o", "os.environ/", "https://vault/x", "", "vault"):
        assert parse(value) is None


def test_a_secret_is_not_shown() -> None:
    secret = Secret("hidden-value")
    assert "hidden" not in f"{secret!r} {secret} {[secret]} {SecretError('denied', 'm', 'n')}"
    assert secret == Secret("hidden-value") != Secret("other") and bool(Secret("")) is False


@pytest.mark.parametrize("name", ["", "../x", "a/../b", "a\\..\\b", "a\nb", "a\0", "x" * 600, "a%2e%2e/b", "./a"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(SecretError, match="bad_name"):
        check_name("m", name)


def test_settings_are_checked() -> None:
    assert KeyManagement.of({}) == KeyManagement()
    given = {
        "key_management_system": "hashicorp_vault",
        "key_management_settings": {"hosted_keys": ["A"], "store_virtual_keys": True},
    }
    assert KeyManagement.of(given).hosts("A") and not KeyManagement.of(given).hosts("B")
    assert KeyManagement.of({"use_azure_key_vault": True}).system == "azure_key_vault"
    for wrong in ({"key_management_system": "keepass"}, {"key_management_settings": {"access_mode": "all"}}, {"key_management_settings": 1},
                  {"key_management_settings": {"hosted_keys": 3}}):  # fmt: skip
        with pytest.raises(SettingsError, match="key_management"):
            KeyManagement.of(wrong)

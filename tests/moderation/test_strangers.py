"""hide_secrets on the corpus of strangers (tests/moderation/strangers).

It was written before the rules were read again: 92.6 % of 1,106 secrets were hidden and 51 of 642
look-alikes touched (17 kinds). With rules made for one half, 92.3 % of the other were, and 18 of
its 309 look-alikes touched; now all of it was looked at.
"""

import pytest

from services.moderation.secrets.engine import Engine
from tests.moderation.secrets_kit import hidden, missed, touched
from tests.moderation.strangers.cases import innocent, planted


def test_most_are_hidden(engine: Engine) -> None:
    left, secrets = missed(engine, planted())
    assert secrets >= 1_100
    assert len(left) <= secrets // 100, left


def test_nothing_harmless_is_touched(engine: Engine) -> None:
    cases = innocent()
    assert len(cases) >= 600
    assert touched(engine, cases) == []


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Agent: Which password do you use?\nAnn: it's {}\n", "Zk4vQ9wLm2xT"),
        ('c = Client("{}")  # api token\n', "Zk4vQ9wLm2xT8rB1"),
        ("lftp -u ann,{} sftp://files.example.com\n", "Zk4vQ9wLm2xT"),
        ("schtasks /create /ru corp\\ann /rp {}\n", "Zk4vQ9wLm2xT"),
        ("<key>DatabasePassword</key>\n<string>{}</string>\n", "Zk4vQ9wLm2xT"),
        ("I pasted the key here so you have it `{}`, thanks", "Zk4vQ9wLm2xT8rB1" * 2 + "Hn3Y"),
        ('.login("ann@example.com", "{}")', "whqm ecda rmru xsdf"),
        ("curl -b 'sid={}' https://app.example.com", "x468v6bzut730eex5etkl5aq"),
    ],
)
def test_kinds_that_strangers_wrote(engine: Engine, text: str, secret: str) -> None:
    assert secret not in hidden(engine, text.format(secret))
    assert hidden(engine, text.replace("{}", "")) == text.replace("{}", "")


@pytest.mark.parametrize(
    "text",
    [
        "def login() -> AccessTokenV2Response[str]: ...\n",
        "from auth import OAuth2TokenProviderV2, PasswordHasherArgon2id\n",
        'resetPasswordV2(input: {tokenId: "VG9rZW46934511"})',
        "secret-scanner (v2.4.1-3-gc90bf082)\n",
        "password reset leak (GHSA-x4jh-7rc2-9fpm)\n",
        "userPassword: {SSHA}Zk4vQ9wLm2xT8rB1Hn3YQ9wLm2xT8rB1\n",
        "Das Kennwort: Aktenzeichen AZ-2026-118734\n",
    ],
)
def test_what_names_and_numbers_look_like(engine: Engine, text: str) -> None:
    assert hidden(engine, text) == text


def test_a_column_goes_on_past_a_value_that_spells_a_name(engine: Engine) -> None:
    rows = [f"user{i},Zk4{spelled}{i}x!9\n" for i, spelled in enumerate(("aKeyT", "xPwdQ", "mTokenB", "plain") * 5)]
    out = hidden(engine, "user,password\n" + "".join(rows))
    assert out == "user,password\n" + "".join(f"user{i},[REDACTED]\n" for i in range(20))


def test_another_header_in_the_same_table_has_its_own_columns(engine: Engine) -> None:
    text = "user,password\nann,Zk4vQ9wLm2xT\npassword,user\nRn3YtQ9wLm2x,bob\n"
    assert hidden(engine, text) == "user,password\nann,[REDACTED]\npassword,user\n[REDACTED],bob\n"

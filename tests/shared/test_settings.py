"""Settings: from the environment, with the variable's name in every complaint and its value in
none.
"""

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import SettingsError, read


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    database_url: str
    nats_url: str = "nats://here"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    ratio: float = 0.5
    enabled: bool = False
    mode: Literal["always", "default"] = "always"


REQUIRED = {"TOLLGATE_DATABASE_URL": "postgresql://u:canary@h/d"}


def test_defaults_and_values() -> None:
    settings = read(
        Sample, {**REQUIRED, "TOLLGATE_PORT": "81", "TOLLGATE_ENABLED": "true", "TOLLGATE_RATIO": "1e-3", "PORT": "9"}
    )
    assert (settings.port, settings.enabled, settings.ratio, settings.nats_url) == (81, True, 0.001, "nats://here")


def test_an_empty_variable_is_an_unset_one() -> None:
    assert read(Sample, {**REQUIRED, "TOLLGATE_PORT": "", "TOLLGATE_NATS_URL": ""}) == read(Sample, REQUIRED)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, r"^TOLLGATE_DATABASE_URL must be set$"),
        ({"TOLLGATE_DATABASE_URL": ""}, r"^TOLLGATE_DATABASE_URL must be set$"),
        ({**REQUIRED, "TOLLGATE_PORT": "canary"}, r"^TOLLGATE_PORT: Expected `int`"),
        ({**REQUIRED, "TOLLGATE_PORT": "65536"}, r"^TOLLGATE_PORT: Expected `int` <= 65535"),
        ({**REQUIRED, "TOLLGATE_PORT": "-1"}, r"^TOLLGATE_PORT: Expected `int` >= 0"),
        ({**REQUIRED, "TOLLGATE_PORT": "1.5"}, r"^TOLLGATE_PORT: Expected `int`"),
        ({**REQUIRED, "TOLLGATE_RATIO": "canary"}, r"^TOLLGATE_RATIO: Expected `float`"),
        ({**REQUIRED, "TOLLGATE_ENABLED": "canary"}, r"^TOLLGATE_ENABLED: Expected `bool`"),
        ({**REQUIRED, "TOLLGATE_MODE": "never"}, r"^TOLLGATE_MODE: Invalid enum value"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as refusal:
        read(Sample, environ)
    assert "canary" not in str(refusal.value)


@given(st.dictionaries(st.sampled_from(["PORT", "RATIO", "ENABLED", "MODE", "NATS_URL"]), st.text(max_size=10)))
def test_junk_is_read_or_refused(values: dict[str, str]) -> None:
    try:
        settings = read(Sample, {**REQUIRED, **{f"TOLLGATE_{name}": value for name, value in values.items()}})
    except SettingsError as refusal:
        assert str(refusal).startswith("TOLLGATE_")
    else:
        assert 0 <= settings.port <= 65535

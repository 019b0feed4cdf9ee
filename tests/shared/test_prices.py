"""The price table: exact, and the same as its source says."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared import prices
from shared.money import Usage, cost_picousd

TABLE: dict[str, Any] = msgspec.json.decode(prices.FILE.read_bytes())


def rows() -> list[tuple[str, str, list[int | None]]]:
    return [
        (section, name, row)
        for section, models in TABLE["prices"].items()
        for name, row in models.items()
        if row is not None
    ]


def test_every_price_is_a_whole_number_of_picousd() -> None:
    assert len(rows()) > 2000
    for section, name, row in rows():
        assert 2 <= len(row) <= 5, (section, name)
        assert all(value is None or (type(value) is int and 0 <= value < 2**53) for value in row), (section, name)
        assert row[0] is not None and row[1] is not None and row[-1] is not None


@pytest.mark.parametrize(
    ("provider", "model", "usd_per_million"),
    [
        ("openai", "gpt-4o", ("2.5", "10", "1.25", None)),
        ("openai", "gpt-4o-2024-08-06", ("2.5", "10", "1.25", None)),
        ("openai", "gpt-4o-mini", ("0.15", "0.6", "0.075", None)),
        ("azure", "gpt-4o-mini", ("0.15", "0.6", "0.075", None)),
        ("openai", "text-embedding-3-small", ("0.02", "0", None, None)),
        ("anthropic", "claude-sonnet-4-5", ("3", "15", "0.3", "3.75")),
        ("vertex_ai", "gemini-2.5-pro", ("1.25", "10", "0.125", None)),
        ("gemini", "gemini-2.5-pro", ("1.25", "10", "0.125", None)),
    ],
)
def test_anchors(provider: str, model: str, usd_per_million: tuple[str | None, ...]) -> None:
    price = prices.lookup(provider, model)
    assert price is not None
    got = (price.input_picousd, price.output_picousd, price.cache_read_picousd, price.cache_write_picousd)
    assert got == tuple(None if usd is None else int(Decimal(usd) * 10**6) for usd in usd_per_million)
    assert (price.source, price.version) == ("table", prices.VERSION)


def test_a_price_per_request_is_kept() -> None:
    price = prices.lookup("perplexity", "sonar")
    assert price is not None and price.request_picousd == 12 * 10**9


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-"), ("openai", "gpt-4"[:-1]), ("openai", "gpt-4o-2031-01-01"), ("openai", "openai/gpt-4o"),
        ("openai", ""), ("", "gpt-4o"), ("nobody", "gpt-4o"), ("gemini", "claude-3-haiku"), ("openai", "claude-3-haiku"),
        ("openai", "gpt-4o "), ("openai", "whisper-1"), ("azure", "o4-mini-deep-research"), ("openai", "moderation"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_listed_has_no_price(provider: str, model: str) -> None:
    assert prices.lookup(provider, model) is None


def test_the_version_names_the_source_and_the_data() -> None:
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+ [0-9a-f]{12}", prices.VERSION)


def test_the_file_is_not_read_at_import() -> None:
    code = (
        "import shared.prices as p; n = p._load.cache_info().misses; p.lookup('a', 'b'); p.lookup('a', 'b'); "
        "print(n, p._load.cache_info().misses)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["0", "1"]


def test_no_model_is_both_priced_and_left_out() -> None:
    """A model whose price can't be given exactly must not be half there."""
    for sections in TABLE["left_out"].values():
        for section, ids in sections.items():
            priced = {name for name, row in TABLE["prices"].get(section, {}).items() if row is not None}
            assert not set(ids) & priced


def test_prices_are_those_of_the_source() -> None:
    """Every name of every LiteLLM provider costs what the package itself computes for it, to the last pico-dollar."""
    pytest.importorskip("genai_prices")
    import importlib.metadata

    from genai_prices import Usage as PackageUsage
    from genai_prices.data import providers as package_providers

    if TABLE["source"] != f"genai-prices {importlib.metadata.version('genai-prices')}":
        pytest.skip("another version of the package is installed than the table was made from")
    by_id = {provider.id: provider for provider in package_providers}
    midnight = datetime.fromisoformat(TABLE["as_of"]).replace(tzinfo=UTC)
    hourly = {name for names in TABLE["simplified"]["cheaper hours of the day"].values() for name in names}
    usage = Usage(input_tokens=70, output_tokens=11, cached_tokens=20, cache_write_tokens=10)
    compared = 0
    for litellm_provider, sections in TABLE["providers"].items():
        source = by_id[sections[0]]
        for name in {name for section in sections for name in TABLE["prices"][section]}:
            price = prices.lookup(litellm_provider, name)
            if price is None:
                assert name in TABLE["prices"][sections[0]] and TABLE["prices"][sections[0]][name] is None
                continue
            model = source.find_model(name, all_providers=package_providers)
            assert model is not None, (litellm_provider, name)
            instants = [midnight + timedelta(hours=h) for h in range(24)] if model.id in hourly else [midnight]
            asked = PackageUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cached_tokens if price.cache_read_picousd is not None else None,
                cache_write_tokens=usage.cache_write_tokens if price.cache_write_picousd is not None else None,
            )
            if getattr(model.get_prices(midnight), "output_mtok", None) is None:
                asked.output_tokens = None
            theirs = max(
                model.calc_price(asked, source, genai_request_timestamp=instant).total_price for instant in instants
            )
            assert cost_picousd(price, usage) == theirs * 10**12, (litellm_provider, name)
            compared += 1
    assert compared > 2000

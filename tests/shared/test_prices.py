"""The price table: exact, and the same as its source says."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from shared import prices
from shared.billing import UNIT_NAMES, Price, Usage, cost, cost_picousd
from shared.config import ConfigError
from shared.config import prices as config_prices

TABLE: dict[str, Any] = msgspec.json.decode(prices.FILE.read_bytes())


def rows() -> list[tuple[str, str, list[Any]]]:
    return [
        (section, name, row)
        for section, models in TABLE["prices"].items()
        for name, row in models.items()
        if row is not None
    ]


def is_amount(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 2 and all(type(part) is int and part > 0 for part in value) and value[1] > 1
    return type(value) is int and 0 <= value < 2**53


def test_every_row_is_what_the_reader_of_the_table_expects() -> None:
    assert len(rows()) > 2000
    for section, name, row in rows():
        usual, rates = row[:5], row[5] if len(row) == 6 else []
        assert len(row) <= 6 and row[-1] is not None, (section, name)
        assert all(value is None or is_amount(value) for value in usual), (section, name)
        for unit, amount, *more in rates:
            assert unit in UNIT_NAMES and is_amount(amount), (section, name)
            assert len(more) <= 2 and all(type(above) is int for above in more[:1]), (section, name)
            assert not more[1:] or more[1] in ("flex", "priority", "batch"), (section, name)


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
        ("openai", "gpt-4o-"), ("openai", "gpt-4"[:-1]), ("openai", "gpt-4o-2031-01-01"), ("openai", "gpt-4o-2024-99-99"),
        ("openai", ""), ("", "gpt-4o"), ("nobody", "gpt-4o"), ("gemini", "claude-3-haiku"), ("openai", "claude-3-haiku"),
        ("openai", "gpt-4o "), ("nobody", "nobody/gpt-4o"), ("openai", "bedrock/gpt-4o"),
        ("azure", "o4-mini-deep-research"), ("openai", "moderation"),
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


@pytest.mark.parametrize(
    ("provider", "model", "listed_as"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("vertex_ai", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        (
            "bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", "regional.anthropic.claude-3-haiku-20240307-v1:0"),
        ("bedrock", "eu.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("openai", "gpt-4.1-2025-04-14", "gpt-4.1"),
        ("anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
        ("anthropic", "claude-3-5-haiku", "claude-3-5-haiku-latest"),
        ("anthropic", "claude-3-haiku-latest", "claude-3-haiku"),
    ],
)
def test_what_is_no_part_of_a_models_identity_is_looked_through(provider: str, model: str, listed_as: str) -> None:
    found, listed = prices.lookup(provider, model), prices.lookup(provider, listed_as)
    assert found is not None and listed is not None
    assert msgspec.structs.replace(found, version="") == msgspec.structs.replace(listed, version="")
    assert found.version in (prices.VERSION, f"{prices.VERSION} as {listed_as}")


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openai", "gpt-4o", 128_000),
        ("openai", "gpt-4o-2024-08-06", 128_000),
        ("openai", "azure/gpt-4o", 128_000),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("openai", "nobody-knows", None),
        ("nobody", "gpt-4o", None),
    ],
)
def test_how_much_fits_into_a_model(provider: str, model: str, tokens: int | None) -> None:
    assert prices.context_window(provider, model) == tokens


def test_a_base_model_may_say_its_seller() -> None:
    assert prices.lookup("openai", "azure/gpt-4o-mini") == prices.lookup("azure", "gpt-4o-mini") is not None
    assert prices.lookup("openrouter", "openai/gpt-4o") != prices.lookup("openai", "gpt-4o")  # a name of its own there


USD = 10**12


@pytest.mark.parametrize(
    ("provider", "model", "usage", "usd"),
    [
        # By hand, from the makers' price lists, in USD.
        ("openai", "whisper-1", Usage(input_ms=90_000), Decimal("0.009")),
        ("groq", "whisper-large-v3", Usage(input_ms=3_600_000), Decimal("0.111")),
        ("openai", "tts-1", Usage(input_characters=2_000), Decimal("0.03")),
        ("gemini", "gemini-2.5-pro", Usage(200_000, 1_000), Decimal("0.26")),
        ("gemini", "gemini-2.5-pro", Usage(200_001, 1_000), Decimal("0.5150025")),
        ("openai", "gpt-5", Usage(1_000_000, 100_000, service="flex"), Decimal("1.125")),
        ("openai", "gpt-5", Usage(1_000_000, 100_000, service="priority"), Decimal("4.5")),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Usage(100_000, 0, 0, 100_000, cache_write_1h_tokens=40_000),
            Decimal("0.465"),
        ),
        ("anthropic", "claude-sonnet-4-5", Usage(1_000, 1_000, searches=3), Decimal("0.048")),
        ("gemini", "gemini-2.0-flash", Usage(1_000_000, 0, audio_input_tokens=400_000), Decimal("0.34")),
        ("openai", "gpt-image-1", Usage(1_000, 4_000, image_output_tokens=4_000), Decimal("0.165")),
        ("perplexity", "sonar", Usage(1_000, 1_000), Decimal("0.014")),
        ("openai", "gpt-4o-audio-preview", Usage(17, 592, audio_output_tokens=482), Decimal("0.0397025")),
        ("openai", "gpt-4o-audio-preview-2024-12-17", Usage(100, 0, audio_input_tokens=100), Decimal("0.004")),
        ("openai", "gpt-4o-mini-tts", Usage(1_000, 1_000, audio_output_tokens=1_000), Decimal("0.0126")),
    ],
)
def test_units_tiers_and_services(provider: str, model: str, usage: Usage, usd: Decimal) -> None:
    price = prices.lookup(provider, model)
    assert price is not None
    found = cost(price, usage)
    assert (found.picousd, found.flags) == (int(usd * USD), ())


def test_what_batches_cost_doesnt_travel_with_calls() -> None:
    call, batch = prices.lookup("openai", "gpt-5"), prices.lookup("openai", "gpt-5", batch=True)
    assert call is not None and batch is not None
    assert all(rate.service != "batch" for rate in call.rates)
    assert cost_picousd(batch, Usage(1_000_000, 100_000, service="batch")) == int(Decimal("1.125") * USD)


VARIANTS = {
    "": None,
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "batch": {"processing": "batch"},
}
USAGES = [
    Usage(input_tokens=70, output_tokens=11, cached_tokens=20, cache_write_tokens=10),
    Usage(input_tokens=1_500_000, output_tokens=11, cached_tokens=20, cache_write_tokens=10),
]


def test_prices_are_those_of_the_source() -> None:
    """Every name of every LiteLLM provider costs what the package itself computes for it, to the
    last pico-dollar: below and above every tier, in each service."""
    pytest.importorskip("genai_prices")
    import importlib.metadata

    from genai_prices import Usage as PackageUsage
    from genai_prices.data import providers as package_providers

    if TABLE["source"] != f"genai-prices {importlib.metadata.version('genai-prices')}":
        pytest.skip("another version of the package is installed than the table was made from")
    by_id = {provider.id: provider for provider in package_providers}
    midnight = datetime.fromisoformat(TABLE["as_of"]).replace(tzinfo=UTC)
    hourly = {name for names in TABLE["simplified"]["cheaper hours of the day"].values() for name in names}
    compared = 0
    for litellm_provider, sections in TABLE["providers"].items():
        source = by_id[sections[0]]
        for name in {name for section in sections for name in TABLE["prices"][section]}:
            price = prices.lookup(litellm_provider, name, batch=True)
            if price is None:
                assert name in TABLE["prices"][sections[0]] and TABLE["prices"][sections[0]][name] is None
                continue
            if price.input_picousd is None:
                continue
            model = source.find_model(name, all_providers=package_providers)
            if model is None:
                assert name.startswith("regional.")
                model = next(model for model in source.models if model.id == name)
            owner = next(p for p in package_providers if any(m is model for m in p.models))
            instants = [midnight + timedelta(hours=h) for h in range(24)] if model.id in hourly else [midnight]
            services = {rate.service for rate in price.rates} | {""}
            for usage in USAGES:
                for service in services:
                    asked = PackageUsage(
                        input_tokens=usage.input_tokens,
                        output_tokens=usage.output_tokens,
                        cache_read_tokens=usage.cached_tokens if price.cache_read_picousd is not None else None,
                        cache_write_tokens=usage.cache_write_tokens if price.cache_write_picousd is not None else None,
                    )
                    if getattr(model.get_prices(midnight), "output_mtok", None) is None:
                        asked.output_tokens = None
                    theirs = max(
                        model.calc_price(
                            asked, owner, genai_request_timestamp=instant, price_context=VARIANTS[service]
                        ).total_price
                        for instant in instants
                    )
                    ours = cost_picousd(price, msgspec.structs.replace(usage, service=service))
                    assert ours == round(theirs * 10**12), (litellm_provider, name, service, usage)
                    compared += 1
    assert compared > 5000


def own(**params: Any) -> Price | None:
    return config_prices.price(params, "here")


def test_every_price_that_litellms_keys_can_set() -> None:
    found = own(
        input_cost_per_token=1e-6,
        output_cost_per_token="0.000002",
        cache_read_input_token_cost=1e-7,
        cache_creation_input_token_cost=1.25e-6,
        cache_creation_input_token_cost_above_1hr=2e-6,
        input_cost_per_token_above_200k_tokens=2e-6,
        input_cost_per_token_flex=5e-7,
        output_cost_per_token_priority=4e-6,
        input_cost_per_token_batches=5e-7,
        input_cost_per_audio_token=1e-5,
        output_cost_per_reasoning_token=3e-6,
        search_context_cost_per_query={"search_context_size_low": 0.03, "search_context_size_high": 0.05},
        input_cost_per_second=1 / 2**10,
    )
    assert found is not None
    assert cost(found, Usage(300, 100, 100, 100, 50, cache_write_1h_tokens=40)).picousd == (
        100 * 10**6 + 100 * 10**5 + 60 * 1_250_000 + 40 * 2 * 10**6 + 50 * 2 * 10**6 + 50 * 3 * 10**6
    )
    assert cost(found, Usage(10, 10, service="flex")).picousd == 10 * 500_000 + 10 * 2 * 10**6
    assert cost(found, Usage(0, 10, service="priority")).picousd == 40 * 10**6
    assert cost(found, Usage(200_001, 0)).picousd == 200_001 * 2 * 10**6
    assert cost(found, Usage(searches=2, search_context="high")).picousd == 10**11
    assert cost(found, Usage(input_ms=1500)).picousd == round(Fraction(10**12, 2**10) * Fraction(3, 2))


def test_prices_by_the_length_of_the_prompt() -> None:
    tiers = [
        {"range": [0, 128_000], "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        {"range": [128_000, 1_000_000], "input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6},
    ]
    found = own(tiered_pricing=tiers)
    assert found is not None
    assert cost(found, Usage(128_000, 1)).picousd == 128_002 * 10**6
    assert cost(found, Usage(128_001, 1)).picousd == (128_001 * 3 + 4) * 10**6
    for wrong in ({"tiered_pricing": 5}, {"tiered_pricing": [{}]}, {"search_context_cost_per_query": 1}):
        with pytest.raises(ConfigError):
            own(**wrong)


def test_an_entrys_cache_price_is_laid_over_the_table_and_its_token_price_replaces_it() -> None:
    listed = prices.lookup("anthropic", "claude-sonnet-4-5")
    assert listed is not None
    cached = prices.merged(own(cache_read_input_token_cost=1e-9), listed)
    assert cached is not None and cached.input_picousd == listed.input_picousd and cached.source == "config"
    assert cost(cached, Usage(300_000, 0, 300_000)).picousd == 300_000 * 1000, "the table's tier of the same is gone"
    assert prices.merged(own(input_cost_per_token=1e-9), listed) == own(input_cost_per_token=1e-9)
    assert prices.merged(None, listed) is listed and prices.merged(None, None) is None


@pytest.mark.parametrize(
    ("discounts", "margins", "usd"),
    [
        ({}, {}, "0.003"),
        ({"openai": 0.05}, {}, "0.00285"),
        ({"other": 0.05}, {"global": 0.1}, "0.0033"),
        ({"openai": "0.5"}, {"openai": {"percentage": 0.1, "fixed_amount": 0.001}, "global": 9}, "0.00265"),
        ({"openai": 1}, {}, "0"),
    ],
)
def test_discounts_and_margins(discounts: Any, margins: Any, usd: str) -> None:
    price = own(input_cost_per_token=1e-6, output_cost_per_token=2e-6)
    assert price is not None
    charged = prices.adjustment("openai", discounts, margins).of(price)
    assert cost_picousd(charged, Usage(1000, 1000)) == int(Decimal(usd) * USD)


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "much", True, None, float("nan")])
def test_what_is_no_share_of_a_price_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        prices.adjustment("openai", {"openai": wrong}, {})


def test_a_share_of_many_digits_fits() -> None:
    price = prices.lookup("groq", "whisper-large-v3")
    assert price is not None
    charged = prices.adjustment("groq", {"groq": 0.123456789123}, {"groq": 0.987654321987}).of(price)
    exactly = Fraction(92_500_000, 3) * (1 - Fraction("0.123456789123")) * (1 + Fraction("0.987654321987"))
    assert abs(cost_picousd(charged, Usage(input_ms=1000)) - exactly) <= 1

"""Makes `shared/prices.json` from the genai-prices package (a development dependency; nothing at
run time needs it).

    PYTHONPATH=. python tools/make_prices.py [--as-of YYYY-MM-DD]

What is taken: per model every price that one of our units (shared/billing.py) stands for, exactly,
with its tiers and its service tiers (flex, priority, batch). Names are the package's ids and the
names its match rules list literally; its pattern rules are not used, because a wrong name must find
nothing. What is left out is named in the file: `simplified` (priced, but with less than the package
knows) and `left_out` (not priced at all).
"""

import argparse
import importlib.metadata
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices.data import providers as package_providers
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from shared.money import exact_from_usd

TARGET = Path(__file__).parent.parent / "shared" / "prices.json"

LITELLM_PROVIDERS: dict[str, list[str]] = {
    "openai": ["openai"],
    "text-completion-openai": ["openai"],
    "anthropic": ["anthropic"],
    "azure": ["azure", "openai", "anthropic", "deepseek", "x-ai", "moonshotai"],
    "azure_ai": ["azure", "openai", "anthropic", "deepseek", "x-ai", "moonshotai"],
    "gemini": ["google"],
    "vertex_ai": ["google", "google-partners", "anthropic"],
    "bedrock": ["aws"],
    "groq": ["groq"],
    "mistral": ["mistral"],
    "deepseek": ["deepseek"],
    "xai": ["x-ai"],
    "together_ai": ["together"],
    "openrouter": ["openrouter"],
    "fireworks_ai": ["fireworks"],
    "cohere": ["cohere"],
    "cohere_chat": ["cohere"],
    "perplexity": ["perplexity"],
    "cerebras": ["cerebras"],
    "cloudflare": ["cloudflare"],
    "databricks": ["databricks"],
    "minimax": ["minimax"],
    "moonshot": ["moonshotai"],
    "novita": ["novita"],
    "ovhcloud": ["ovhcloud"],
    "voyage": ["voyageai"],
    "zai": ["zai"],
    "baseten": ["baseten"],
    "github_copilot": ["github-copilot"],
    "meta_llama": ["meta"],
    "elevenlabs": ["elevenlabs"],
}
"""LiteLLM's provider prefix -> the package's providers, searched in order (the package itself falls
back this way for Azure and Vertex).

`google-partners` is made here: other makers' models that only Vertex AI sells.
"""

COLUMNS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "requests_kcount")
"""The first five of a row."""
UNITS = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write", 10**6),
    "requests_kcount": ("request", 10**3),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "cache_audio_read_mtok": ("cache_read_audio", 10**6),
    "input_audio_mtok": ("input_audio", 10**6),
    "output_audio_mtok": ("output_audio", 10**6),
    "input_image_mtok": ("input_image_token", 10**6),
    "output_image_mtok": ("output_image_token", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "web_searches_kcount": ("search", 10**3),
    "input_audio_hours": ("input_second", 3600),
    "input_mchars": ("input_character", 10**6),
}
"""The package's price -> our unit, and how many of it the price is for."""
SAME_AS_OTHERS = {"audio_hours"}
"""Prices that say again what others of the same model say."""
SERVICES = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
}
"""The package's variants -> our service tiers."""

MISSING = {
    "gpt-4o-audio-preview": {"input_audio": "40", "output_audio": "80"},
    "gpt-4o-mini-audio-preview": {"input_audio": "10", "output_audio": "20"},
}
"""What the package lacks, in USD per million, from OpenAI's price list (2026-11); a model's dated
names have the same.
"""
MADE_OF_ONE_KIND = {"gpt-image": "output_image_token", "-tts": "output_audio"}
"""Part of a name -> the unit that all of its output is."""

Amount = int | list[int]
"""pico-USD; a fraction as [numerator, denominator]."""
Row = list[Any]
"""COLUMNS, then one list of rates `[unit, amount, above tokens, service]`; absent ones at the end
are cut.
"""
Notes = dict[str, dict[str, list[str]]]


def listed_names(provider: Provider, model: ModelInfo) -> list[str]:
    """Names the package writes out, and that it resolves to this very model."""
    names = dict.fromkeys([model.id, *literals(model.match)])
    # `regional.` is the package's own word, which nobody calls by: shared/prices.py asks for it.
    return [name for name in names if name.startswith("regional.") or provider.find_model(name) is model]


def literals(clause: Any) -> Iterator[str]:
    if isinstance(clause, ClauseEquals):
        yield clause.equals
    elif isinstance(clause, ClauseOr):
        for part in clause.or_:
            yield from literals(part)


def price_on(model: ModelInfo, day: date) -> tuple[ModelPrice, list[str]]:
    """The price of that day, and what was simplified. Where it depends on the hour, the dearest:
    better than a bill that is too low.
    """
    midnight = datetime.combine(day, time(), UTC)
    if not isinstance(model.prices, list):
        return model.prices, []
    constraints = [conditional.constraint for conditional in model.prices]
    simplified = []
    if any(isinstance(c, StartDateConstraint) and c.start_date > day for c in constraints):
        simplified.append("a price that starts later")
    if not any(isinstance(c, TimeOfDateConstraint) for c in constraints):
        return model.get_prices(midnight), simplified
    hours = [model.get_prices(midnight + timedelta(minutes=15 * i)) for i in range(96)]
    dearest = max(hours, key=lambda price: base(getattr(price, "output_mtok", None) or Decimal(0)))
    return dearest, [*simplified, "cheaper hours of the day"]


def base(price: Decimal | TieredPrices) -> Decimal:
    return price.base if isinstance(price, TieredPrices) else price


def picousd(usd: Decimal, per: int) -> Amount:
    """Raises ValueError for an amount that isn't one."""
    amount = exact_from_usd(usd, per=per)
    return amount if isinstance(amount, int) else list(amount)


def row_of(model: ModelInfo, price: ModelPrice, day: date) -> tuple[Row, list[str]]:
    """The table's row, and what was simplified. Raises ValueError when nothing of it can be
    priced.
    """
    listed = {key: value for key, value in vars(price).items() if value is not None}
    kept = {key: value for key, value in listed.items() if key in UNITS}
    if not kept:
        raise ValueError("no price for anything that is counted here")
    covered = SAME_AS_OTHERS if "input_audio_hours" in listed else set()
    simplified = [f"extra price {key}" for key in sorted(set(listed) - set(kept) - covered)]
    row: Row = [None if key not in kept else picousd(base(kept[key]), UNITS[key][1]) for key in COLUMNS]
    rates = [r for key, value in kept.items() for r in rates_of(key, value, "", with_base=key not in COLUMNS)]
    seen: set[tuple[str, str]] = set()
    for variant in model.price_variants or ():
        service = SERVICES.get(next(iter(variant.when.items()))) if len(variant.when) == 1 else None
        if isinstance(variant.constraint, StartDateConstraint) and variant.constraint.start_date > day:
            simplified.append("a variant's price that starts later")
        elif service is None or isinstance(variant.constraint, TimeOfDateConstraint):
            if any(value is not None for value in vars(variant.prices).values()):
                simplified.append(f"variant {variant.when}")
        else:
            for key, value in vars(variant.prices).items():
                if value is not None and key in UNITS and (service, key) not in seen:
                    seen.add((service, key))  # the first that is in force counts
                    rates += rates_of(key, value, service, with_base=True)
    for part, unit in MADE_OF_ONE_KIND.items():
        if part in model.id and "output_mtok" in kept and not any(rate[0] == unit for rate in rates):
            rates += [[unit, row[1]], *([unit, *rate[1:]] for rate in rates if rate[0] == "output")]
    for unit, usd in MISSING.get(re.sub(r"-20\d\d-\d\d-\d\d$", "", model.id), {}).items():
        if not any(rate[0] == unit for rate in rates):
            rates.append([unit, picousd(Decimal(usd), 10**6)])
    if "input_mtok" in kept and row[1] is None and not any(key.startswith("output") for key in listed):
        row[1] = 0  # embeddings and rankings have no output tokens
    if rates:
        row.append(rates)
    while row[-1] is None:
        row.pop()
    return row, simplified


def rates_of(key: str, value: Decimal | TieredPrices, service: str, *, with_base: bool) -> Iterator[list[Any]]:
    unit, per = UNITS[key]
    if with_base:
        yield trimmed(unit, picousd(base(value), per), 0, service)
    if isinstance(value, TieredPrices):
        for tier in value.tiers:
            yield trimmed(unit, picousd(tier.price, per), tier.start, service)


def trimmed(unit: str, amount: Amount, above: int, service: str) -> list[Any]:
    rate: list[Any] = [unit, amount, above, service]
    while len(rate) > 2 and not rate[-1]:
        rate.pop()
    return rate


def section_of(provider: Provider, name: str) -> str:
    return "google-partners" if provider.id == "google" and not name.startswith(("gemini", "gemma")) else provider.id


def make(day: date) -> dict[str, Any]:
    """The whole file as a tree, sorted."""
    wanted = {section for sections in LITELLM_PROVIDERS.values() for section in sections}
    prices: dict[str, dict[str, Row | None]] = defaultdict(dict)
    windows: dict[str, dict[str, int]] = defaultdict(dict)
    simplified: Notes = defaultdict(lambda: defaultdict(list))
    left_out: Notes = defaultdict(lambda: defaultdict(list))
    for provider in package_providers:
        if provider.id not in wanted:
            continue
        for model in provider.models:
            section = section_of(provider, model.id)
            names = listed_names(provider, model)
            if model.context_window:
                windows[section].update((name, model.context_window) for name in names)
            try:
                price, hours = price_on(model, day)
                row, extras = row_of(model, price, day)
                if not names:
                    raise ValueError("no literal name")
            except ValueError as refusal:
                left_out[str(refusal)][section].append(model.id)
                continue
            for reason in dict.fromkeys(hours + extras):
                simplified[reason][section].append(model.id)
            prices[section].update((name, row) for name in names)
    for section, name in ambiguous(prices):
        prices[section][name] = None
        left_out["priced differently by the provider's own pattern rule and by the one it falls back to"][
            section
        ].append(name)
    return {
        "source": f"genai-prices {importlib.metadata.version('genai-prices')}",
        "as_of": day.isoformat(),
        "unit": "pico-USD per input, output, cache-read, cache-write token; per request; then rates [unit, amount, above input "
        "tokens, service]. [n, d] is the fraction n/d. null: none of its own. A model that is null has no price",
        "providers": LITELLM_PROVIDERS,
        "prices": prices,
        "windows": windows,
        "simplified": simplified,
        "left_out": left_out,
    }


def ambiguous(prices: dict[str, dict[str, Row | None]]) -> set[tuple[str, str]]:
    """Names that a provider finds in a section it falls back to, though one of its own pattern
    rules gives another price.
    """
    by_id = {provider.id: provider for provider in package_providers}
    found = set()
    for first, *fallbacks in LITELLM_PROVIDERS.values():
        for section in (s for s in fallbacks if s in by_id):
            for name, row in prices[section].items():
                own = by_id[first].find_model(name)
                if (
                    name not in prices[first]
                    and own is not None
                    and own.id in prices[first]
                    and prices[first][own.id] != row
                ):
                    found.add((first, name))
    return found


def render(tree: dict[str, Any]) -> str:
    """JSON with one line a price, sorted, so that a change of price is one line of a diff."""
    lines = ["{"]
    for key in ("source", "as_of", "unit"):
        lines.append(f"{json.dumps(key)}: {json.dumps(tree[key])},")
    for key in ("providers", "prices", "windows"):
        lines.append(f"{json.dumps(key)}: {{")
        lines += _commas(_block(name, tree[key][name]) for name in sorted(tree[key]))
        lines.append("},")
    for key in ("simplified", "left_out"):
        lines.append(f"{json.dumps(key)}: {{")
        lines += _commas(
            _block(reason, {s: sorted(names) for s, names in sections.items()})
            for reason, sections in sorted(tree[key].items())
        )
        lines.append("}," if key == "simplified" else "}")
    return "\n".join([*lines, "}"]) + "\n"


def _block(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f" {json.dumps(name)}: {json.dumps(value)}"
    inner = ",\n".join(f"  {json.dumps(k, ensure_ascii=False)}: {json.dumps(value[k])}" for k in sorted(value))
    return f" {json.dumps(name)}: {{\n{inner}\n }}"


def _commas(blocks: Iterator[str]) -> list[str]:
    return [",\n".join(blocks)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--as-of", type=date.fromisoformat, default=datetime.now(UTC).date(), help="take this day's prices"
    )
    made = make(parser.parse_args().as_of)
    TARGET.write_text(render(made), "utf-8")
    print(f"{TARGET}: {sum(map(len, made['prices'].values()))} prices, {TARGET.stat().st_size} bytes")

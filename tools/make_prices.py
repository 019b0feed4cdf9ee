"""Makes `shared/prices.json` from the genai-prices package (a development dependency; nothing at run time needs it).

    python tools/make_prices.py [--as-of YYYY-MM-DD]

What is taken: per model the prices per input, output, cache-read and cache-write token, and per request, as whole pico-USD. Names are
the package's ids and the names its match rules list literally; its pattern rules are not used, because a wrong name must find nothing.
What a flat price per token can't say is left out and named in the file: `simplified` (priced, but with less than the package knows)
and `left_out` (not priced at all).
"""

import argparse
import importlib.metadata
import json
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
}
"""LiteLLM's provider prefix -> the package's providers, searched in order (the package itself falls back this way for Azure and Vertex).

`google-partners` is made here: other makers' models that only Vertex AI sells.
"""

PICOUSD_PER_TOKEN = 10**6
"""One USD per million tokens is 10^6 pico-USD per token."""
PICOUSD_PER_REQUEST = 10**9
"""One USD per thousand requests."""

COLUMNS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "requests_kcount")

Row = list[int | None]
Notes = dict[str, dict[str, list[str]]]


def listed_names(provider: Provider, model: ModelInfo) -> list[str]:
    """Names the package writes out, and that it resolves to this very model."""
    names = dict.fromkeys([model.id, *literals(model.match)])
    return [name for name in names if provider.find_model(name) is model]


def literals(clause: Any) -> Iterator[str]:
    if isinstance(clause, ClauseEquals):
        yield clause.equals
    elif isinstance(clause, ClauseOr):
        for part in clause.or_:
            yield from literals(part)


def price_on(model: ModelInfo, day: date) -> tuple[ModelPrice, list[str]]:
    """The price of that day, and what was simplified. Where it depends on the hour, the dearest: better than a bill that is too low."""
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
    dearest = max(hours, key=lambda price: base(getattr(price, "output_mtok", None)) or 0)
    return dearest, [*simplified, "cheaper hours of the day"]


def base(price: Decimal | TieredPrices | None) -> Decimal | None:
    return price.base if isinstance(price, TieredPrices) else price


def picousd(usd: Decimal | None, factor: int) -> int | None:
    """Raises ValueError when the amount isn't a whole number of pico-USD."""
    if usd is None:
        return None
    scaled = usd * factor
    if scaled != scaled.to_integral_value() or scaled < 0:
        raise ValueError("a price that is not a whole number of pico-USD")
    return int(scaled)


def row_of(price: ModelPrice) -> tuple[Row, list[str]]:
    """The table's row (`COLUMNS`, trailing absent ones cut), and what was simplified. Raises ValueError when it can't be priced."""
    listed = {key: value for key, value in vars(price).items() if value is not None}
    if "input_mtok" not in listed:
        raise ValueError("no price per input token")
    others = sorted(set(listed) - set(COLUMNS))
    if "output_mtok" not in listed and any(key.startswith("output") for key in others):
        raise ValueError("output is not priced per text token")
    simplified = [f"extra price {key}" for key in others]
    if any(isinstance(value, TieredPrices) for value in listed.values()):
        simplified.append("tiers above the base price")
    values = [base(listed.get(key)) for key in COLUMNS]
    row = [picousd(value, PICOUSD_PER_TOKEN) for value in values[:4]]
    row += [picousd(values[4], PICOUSD_PER_REQUEST)]
    row[1] = row[1] or 0  # embeddings and rankings have no output tokens
    while row[-1] is None:
        row.pop()
    return row, simplified


def section_of(provider: Provider, name: str) -> str:
    return "google-partners" if provider.id == "google" and not name.startswith(("gemini", "gemma")) else provider.id


def make(day: date) -> dict[str, Any]:
    """The whole file as a tree, sorted."""
    wanted = {section for sections in LITELLM_PROVIDERS.values() for section in sections}
    prices: dict[str, dict[str, Row | None]] = defaultdict(dict)
    simplified: Notes = defaultdict(lambda: defaultdict(list))
    left_out: Notes = defaultdict(lambda: defaultdict(list))
    for provider in package_providers:
        if provider.id not in wanted:
            continue
        for model in provider.models:
            section = section_of(provider, model.id)
            names = listed_names(provider, model)
            try:
                price, hours = price_on(model, day)
                row, extras = row_of(price)
                if not names:
                    raise ValueError("no literal name")
            except ValueError as refusal:
                left_out[str(refusal)][section].append(model.id)
                continue
            reasons = hours + extras + (["variants (batch, priority, flex ...)"] if model.price_variants else [])
            for reason in reasons:
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
        "unit": "pico-USD per input, output, cache-read, cache-write token; per request. null: as input. A model that is null has no price",
        "providers": LITELLM_PROVIDERS,
        "prices": prices,
        "simplified": simplified,
        "left_out": left_out,
    }


def ambiguous(prices: dict[str, dict[str, Row | None]]) -> set[tuple[str, str]]:
    """Names that a provider finds in a section it falls back to, though one of its own pattern rules gives another price."""
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
    for key in ("providers", "prices"):
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--as-of", type=date.fromisoformat, default=datetime.now(UTC).date(), help="take this day's prices"
    )
    made = make(parser.parse_args().as_of)
    TARGET.write_text(render(made), "utf-8")
    print(f"{TARGET}: {sum(map(len, made['prices'].values()))} prices, {TARGET.stat().st_size} bytes")

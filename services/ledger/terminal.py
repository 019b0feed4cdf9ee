"""`spend` in a terminal: asks a gateway's `/spend/query`, and prints the answer as a table.

    spend --by tag,team --since 30d
    spend --by model --from 2026-11-01 --to 2026-11-30 --bucket week --format csv

The gateway is `--url` (or TOLLGATE_URL; http://127.0.0.1:4000), the key comes from TOLLGATE_KEY or
LITELLM_MASTER_KEY: arguments are seen by every process of the machine.
"""

import argparse
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.decoding import UNREADABLE

TIMEOUT_S = 60
PASSED = (
    "since",
    "from",
    "to",
    "bucket",
    "time_zone",
    "top",
    "tag",
    "team",
    "key",
    "user",
    "organization",
    "model",
    "provider",
    "customer",
)
FIGURES = ("requests", "input_tokens", "output_tokens", "spend_usd")


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Exit status: 0 answered, 1 refused, 2 nobody answered."""
    parser = argparse.ArgumentParser(prog="spend", description="What was spent, on what, by whom.")
    parser.add_argument(
        "--by",
        default="tag",
        help="dimensions, separated by commas: tag, team, key, user, model, provider, customer ...",
    )
    parser.add_argument("--url", default=environ.get("TOLLGATE_URL") or "http://127.0.0.1:4000", help="of the gateway")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--previous", action="store_true", help="with the period before")
    for name in PASSED:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name)
    asked = vars(parser.parse_args(arguments))
    query = {name: asked[name] for name in PASSED if asked[name]} | {"group_by": asked["by"]}
    if asked["previous"]:
        query["previous"] = "true"
    if asked["format"] == "csv":
        query["format"] = "csv"
    if not asked["url"].startswith(("http://", "https://")):
        parser.error("--url must begin with http:// or https://")
    target = asked["url"].rstrip("/") + "/spend/query?" + urllib.parse.urlencode(query)
    request = urllib.request.Request(target)  # noqa: S310  (the scheme was looked at)
    key = environ.get("TOLLGATE_KEY") or environ.get("LITELLM_MASTER_KEY")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            body = answer.read()
    except urllib.error.HTTPError as error:
        print(f"spend: {_reason(error.read(65_536)) or error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"spend: {asked['url']} doesn't answer: {error}", file=sys.stderr)
        return 2
    print(body.decode() if asked["format"] != "table" else table(msgspec.json.decode(body)), end="")
    return 0


def table(answer: dict[str, Any]) -> str:
    """An answer of /spend/query, in columns: texts to the left, figures to the right, the total
    below.
    """
    named = [*(["bucket"] if answer["bucket"] != "none" else []), *answer["group_by"]]
    lines = [[*named, *FIGURES]]
    for row in answer["data"]:
        texts = [
            "(other)" if row.get("other") and name != "bucket" else row[name] if row[name] is not None else "-"
            for name in named
        ]
        lines.append([*texts, *(str(row[name]) for name in FIGURES)])
    lines.append(
        [*["total", *[""] * (len(named) - 1)][: len(named)], *(str(answer["total"][name]) for name in FIGURES)]
    )
    if "previous" in answer:
        total = answer["previous"]["total"]
        lines.append([*["before", *[""] * (len(named) - 1)][: len(named)], *(str(total[name]) for name in FIGURES)])
    shown = [[_printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[n]) for line in shown) for n in range(len(lines[0]))]
    out = [
        "  ".join(
            cell.ljust(width) if n < len(named) else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in shown
    ]
    return "\n".join([f"{answer['from']} to {answer['to']}", *out]) + "\n"


def _printable(text: str) -> str:
    """A tag is anybody's word: nothing in it may steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _reason(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (*UNREADABLE, KeyError, TypeError):
        return ""

"""How fast the admin page is served with a full book.

    python -m tests.bench.pages [--calls 1000000] [--keys 10000] [--runs 9] [--keep DIR] [--only
    TEXT]

A year of calls is made by PostgreSQL itself (tests/bench/ledger_fill.py), the keys by the API, or
both are found in DIR, where an earlier run with `--keep` has left them; then each view (`--only`:
whose address has TEXT in it) is loaded `--runs` times as an admin's browser does, over loopback,
and the median told: from the question to the last byte, and the bytes that travelled. Exit status 1
where a view takes over 150 ms or 60 kB.
"""

import argparse
import asyncio
import html
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from services.edge.pages.site import VIEWS
from tests.bench.ledger_query import Book
from tests.support.suite import MOCK_CONFIG, RunningSuite

MS_MAX, BYTES_MAX = 150.0, 60_000
MASTER = {"Authorization": "Bearer sk-1234"}
KEYS_AT_ONCE = 8


async def make_keys(http: aiohttp.ClientSession, base: str, count: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for n in numbers:
            body = {"key_alias": f"bench-{n}", "user_id": f"user-{n % 800}", "metadata": {"tags": [f"tag-{n % 50}"]}}
            async with http.post(base + "/key/generate", json=body, headers=MASTER) as answer:
                assert answer.status == 200, await answer.text()

    await asyncio.gather(*(some() for _ in range(KEYS_AT_ONCE)))


async def addresses(browser: aiohttp.ClientSession, base: str) -> list[str]:
    """Every view; of those about one thing, the first that its list leads to."""
    found = []
    for path in VIEWS:
        if not path.endswith("{id}"):
            found.append(path)
            continue
        kind = path.split("/")[2]
        async with browser.get(f"{base}/ui/{kind}") as answer:
            link = re.search(rf'<td[^>]*><a href="(/ui/{kind}/(?!new)[^"?]+)"', await answer.text())
        if link is not None:
            found.append(link[1])
    async with browser.get(f"{base}/ui/keys") as answer:
        following = re.search(r'href="(/ui/keys\?cursor=[^"]+)"', await answer.text())
    return [
        *found,
        "/ui/keys?search=bench-99",
        *([html.unescape(following[1])] if following is not None else []),
        "/ui/spend?since=365d&by=team&also=model&bucket=month",
    ]


async def timed(browser: aiohttp.ClientSession, url: str, runs: int) -> tuple[int, float, int]:
    """(status, median ms, bytes that travelled)."""
    took, size, status = [], 0, 0
    for _ in range(runs):
        begun = time.monotonic()
        async with browser.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
            size, status = len(await answer.read()), answer.status
        took.append((time.monotonic() - begun) * 1000)
    return status, statistics.median(took), size


async def main() -> int:
    parser = argparse.ArgumentParser(description="Serve every view of the admin page over a full book.")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--keep", type=Path, help="directory of book and keys: made, or looked at once more")
    parser.add_argument("--only", default="", help="views whose address has this in it")
    asked = parser.parse_args()
    asked.changes, asked.shared_buffers = 0, "512MB"
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        book = Book(folder, asked.keep is not None, asked)
        try:
            url, _ = await book.open()
            made = (folder / "suite").exists()
            suite = RunningSuite(folder / "suite", MOCK_CONFIG, env={"TOLLGATE_DATABASE_URL": url})
            jar = aiohttp.CookieJar(unsafe=True)
            async with suite, aiohttp.ClientSession(cookie_jar=jar, auto_decompress=False) as browser:
                if not made:
                    await make_keys(browser, suite.edge_url, asked.keys)
                form = {"username": "admin", "password": "sk-1234"}
                async with browser.post(suite.edge_url + "/ui/login", data=form) as answer:
                    assert answer.status == 200
                async with aiohttp.ClientSession(cookie_jar=jar) as reading:
                    paths = await addresses(reading, suite.edge_url)
                for path in (each for each in paths if asked.only in each):
                    status, ms, size = await timed(browser, suite.edge_url + path, asked.runs)
                    good = status == 200 and ms <= MS_MAX and size <= BYTES_MAX
                    missed += not good
                    print(f"{ms:>8.1f} ms {size:>8} B  {status}  {path[:90]}{'' if good else '   MISSED'}", flush=True)
        finally:
            book.close()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""Junk at every management route: calls made from our own OpenAPI document, mostly right and
somewhere wrong, with ids that exist and ids that don't. Nothing may answer 500 or worse, hang, or
say what its schema doesn't.

Seeded: a finding names its seed, and the same seed makes the same calls (what the server answers in
between aside).
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import jsonschema
import msgspec

from shared import routes
from shared.routes import Route, openapi
from shared.routes.route import parameters
from tests.support.suite import MASTER_KEY

DOCUMENT = openapi.document(routes.TABLE.rows, title="t", version="1")
LEFT_OUT = frozenset({"/add/allowed_ip", "/delete/allowed_ip"})
"""A good call of these locks the caller out, which is right and ends the test."""
ROUTES = [row for row in routes.of_surface("management") if row.name not in LEFT_OUT]
SIDE_BY_SIDE = 4
CALL_S_MAX = 15.0
KNOWN_MAX = 400

STRINGS = (
    "", " ", "a", "x" * 257, "x" * 5_000, "\0", "\n", "é", "🙂", "\ud800", "../../etc/passwd", "%2e%2e", "a/b", "*", "all-team-models",
    "no-default-models", "openai/*", "30d", "1mo", "0s", "-1", "999999999mo", "1e9", "NaN", "null", "true", "sk-", "sk-1234567890abcdef",
    "0" * 64, "127.0.0.1", "::1", "10.0.0.0/8", "a@b.c", "proxy_admin", "internal_user", "org_admin", "admin", "user", "mock",
    "2020-01-01", "os.environ/HOME", "'; DROP TABLE x; --", "{{7*7}}", "llm_api_routes", "/chat/completions", "default", "eu",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 0.5, -0.0, 1e-12, 1e308, 2**31, 2**53, 2**63 - 1, 2**63, 2**70, -(2**70), 10**9, 10**9 + 1)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": None},
    {"": ""},
    [1, "a", None],
    {"sk-" + "k" * 20: 1},
)
RAW = (
    b"", b"null", b"[]", b"3", b'"x"', b"{", b'{"a":', b'{"a": NaN}', b'{"a": 1e999}', b"\xff\xfe", b'{"a": 1, "a": 2}', b"{" * 5_000,
    b'{"a":' * 200 + b"1" + b"}" * 200, b'{"key": "' + b"k" * 300_000 + b'"}',
)  # fmt: skip


class Finding(AssertionError):
    pass


class Junk:
    def __init__(self, base: str, seed: int) -> None:
        self.base, self.seed = base, seed
        self.draw = random.Random(seed)
        self.known: list[str] = []
        """Strings that answers had: ids, aliases, digests."""
        self.keys: list[str] = []
        self.counts: Counter[tuple[str, int]] = Counter()
        self._answers: dict[str, Any] = {}

    async def run(self, seconds: float) -> Counter[tuple[str, int]]:
        """(route, status) → how often. Raises Finding."""
        until = time.monotonic() + seconds
        timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
        async with aiohttp.ClientSession(timeout=timeout, skip_auto_headers=("content-type",)) as http:
            for row in ROUTES:  # each once with a body that is right by its schema
                await self._call(http, row, wildness=0.0)

            async def worker() -> None:
                while time.monotonic() < until:
                    await self._call(http, self.draw.choice(ROUTES), wildness=self.draw.choice((0.0, 0.1, 0.4)))

            await asyncio.gather(*(worker() for _ in range(SIDE_BY_SIDE)))
        return self.counts

    async def _call(self, http: aiohttp.ClientSession, row: Route, wildness: float) -> None:
        draw = self.draw
        template, method = draw.choice(row.paths), draw.choice(row.methods)
        path = template
        for name in parameters(template):
            value = self._string() or "x"
            for spelled in (f"{{{name}}}", f"{{{name}:path}}"):
                path = path.replace(spelled, _quoted(value))
        query = {
            p.name: self._string() if draw.random() < 0.7 else str(draw.choice(NUMBERS))
            for p in row.query
            if draw.random() < 0.5
        }
        query = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
        body: bytes | None = None
        if row.request is not None and method != "GET":
            body = (
                draw.choice(RAW) if draw.random() < wildness / 4 else _json(self._value(self._schema(row), wildness, 0))
            )
        headers = {"Authorization": f"Bearer {self._credential()}", "content-type": "application/json"}
        if draw.random() < 0.05:
            headers["Idempotency-Key"] = draw.choice(("a", "b", "x" * 300))
        what = f"seed {self.seed}: {method} {path} {query} {(body or b'')[:300]!r}"
        try:
            async with http.request(method, self.base + path, params=query, data=body, headers=headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if isinstance(error, ValueError | aiohttp.InvalidURL):
                return  # no client sends that
            raise Finding(f"{what}: {type(error).__name__}: {error}") from None
        self.counts[row.name, answer.status] += 1
        self._judge(row, method, template, answer.status, text, what)

    def _judge(self, row: Route, method: str, template: str, status: int, text: bytes, what: str) -> None:
        if status >= 500:
            raise Finding(f"{what}: {status} {text[:500]!r}")
        try:
            answer = json.loads(text)
        except ValueError:
            raise Finding(f"{what}: {status}, no JSON: {text[:200]!r}") from None
        if b"Traceback" in text or b".py" in text[:2_000]:
            raise Finding(f"{what}: shows its inside: {text[:300]!r}")
        operation = DOCUMENT["paths"][template.replace(":path}", "}")][method.lower()]
        responses = operation["responses"]
        response = responses["200" if status < 300 else "4XX"]
        schema = response["content"]["application/json"]["schema"]
        try:
            jsonschema.validate(answer, {**schema, "components": DOCUMENT["components"]})
        except jsonschema.ValidationError as error:
            raise Finding(f"{what}: {status} doesn't fit its schema: {error.message[:300]}") from None
        if status < 300:
            self._learn(answer)

    def _learn(self, answer: Any) -> None:
        for text in list(_texts(answer))[:40]:
            if text.startswith("sk-") and "..." not in text:
                self.keys.append(text)
                del self.keys[:-20]
            if len(text) <= 80:
                if len(self.known) >= KNOWN_MAX:
                    self.known[self.draw.randrange(KNOWN_MAX)] = text
                else:
                    self.known.append(text)

    def _schema(self, row: Route) -> dict[str, Any]:
        if isinstance(row.request, dict):
            return row.request
        found = msgspec.json.schema(row.request)
        return dict(found["$defs"][row.request.__name__])

    def _credential(self) -> str:
        chance = self.draw.random()
        if chance < 0.75 or not self.keys:
            return MASTER_KEY
        return self.draw.choice(self.keys) if chance < 0.97 else "sk-nobody-nobody-nobody"

    def _string(self) -> str:
        pools = (STRINGS, self.known or STRINGS, self.known or STRINGS, self.keys or STRINGS)
        return str(self.draw.choice(self.draw.choice(pools)))

    def _value(self, schema: dict[str, Any], wildness: float, depth: int) -> Any:
        draw = self.draw
        if depth > 5 or (depth and draw.random() < wildness):
            return draw.choice((self._string(), draw.choice(NUMBERS), draw.choice(OTHERS)))
        if "anyOf" in schema:
            return self._value(draw.choice(schema["anyOf"]), wildness, depth + 1)
        if "enum" in schema:
            return draw.choice(schema["enum"])
        kind = schema.get("type")
        kind = draw.choice(kind) if isinstance(kind, list) else kind
        match kind:
            case "object":
                fields = schema.get("properties", {})
                if not fields:
                    return {self._string(): self._string() for _ in range(draw.randrange(3))}
                share = draw.choice((0.05, 0.2, 0.6))
                wanted = [n for n in fields if n in schema.get("required", ()) or draw.random() < share]
                if wildness and draw.random() < wildness:
                    wanted = wanted[1:]
                return {name: self._value(fields[name], wildness, depth + 1) for name in wanted}
            case "array":
                count = max(schema.get("minItems", 0), draw.choice((0, 1, 1, 2, 5)))
                return [self._value(schema.get("items", {}), wildness, depth + 1) for _ in range(count)]
            case "string":
                return draw.choice(("30s", "1h", "30d", "1mo")) if "pattern" in schema else self._string()
            case "integer":
                return draw.choice([n for n in NUMBERS if isinstance(n, int)])
            case "number":
                return draw.choice(NUMBERS)
            case "boolean":
                return draw.random() < 0.5
            case "null":
                return None
        return draw.choice((self._string(), draw.choice(NUMBERS), draw.choice(OTHERS)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def _quoted(value: str) -> str:
    from urllib.parse import quote

    return quote(value.encode("utf-8", "replace"), safe="")

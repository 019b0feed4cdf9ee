"""Whatever arrives, with a good key, a bad one or none: no 500, no stack trace, and never a long
stretch of the loop.

`FUZZ_SECONDS=600 FUZZ_SEED=7 pytest tests/edge/test_edge_fuzz.py` for the long form. A failure
names its seed and the number of the request: the same seed sends the same bytes.
"""

import asyncio
import contextlib
import gc
import gzip
import json
import os
import random
import socket
import time
import zlib

import pytest

from shared import routes
from shared.ids import digest_key
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import always, completion, response
from tests.edge.harness import Edge
from tests.edge.test_edge_order_of_work import Stretches, refuse_strangers

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
SEED = int(os.environ.get("FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))
BUSY_S_MAX = 0.1
STRANGER_S_MAX = 0.05
"""CPU time of the loop at a stretch, for who has a good key and for who has none."""
BODY_BYTES_MAX = 1_500_000
STATUSES = {400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 422, 429, 431, 502, 503}
"""Of refusals."""

GOOD = digest_key("sk-good")
PATHS = sorted(
    (route.paths[0].replace("{", "").replace("}", ""), method)
    for route in routes.TABLE.rows
    for method in route.methods
)
CALLS = [(path, "POST") for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")]
WORDS = [
    "a",
    "",
    "é",
    "日本",
    "\\ud83d",
    "\\u0000",
    "forbidden",
    "sk-1234",
    "m",
    "null",
    "-1",
    "1e999",
    "\u202e",
    "\x7f",
    "'",
    "../",
    "%00",
    "${X}",
]
NAMES = [
    "model", "messages", "stream", "metadata", "tags", "user", "tools", "n", "max_tokens", "prompt", "input", "stream_options", "Model",
    "content", "role", "guardrails", "cache", "timeout", "num_retries", "api_base", "extra_body", "fallbacks", "\\u006dodel", "", "x",
]  # fmt: skip
HEADERS = [
    "Authorization", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Content-Length", "Expect", "Connection", "Upgrade", "Host",
    "x-litellm-tags", "x-litellm-timeout", "x-litellm-num-retries", "x-litellm-call-id", "x-litellm-spend-logs-metadata", "traceparent",
    "X-Forwarded-For", "User-Agent", "Accept-Encoding", "Cookie", "Origin", "Range", "x-api-key", "Idempotency-Key", "X-Junk",
]  # fmt: skip


class Fuzz:
    """Requests as bytes: mostly nearly right, since what is plainly wrong is refused at the first
    look.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self) -> bytes:
        body = self.body()
        headers = {"Host": "e", "Content-Type": "application/json"}
        if self.random.random() < 0.7:
            headers["Authorization"] = f"Bearer {self.random.choice(['sk-good', 'sk-good', 'sk-bad'])}"
        body = self.packed(body, headers)
        if self.random.random() < 0.1:
            body, headers["Transfer-Encoding"] = self.chunks(body), "chunked"
        else:
            headers["Content-Length"] = str(len(body))
        for _ in range(self.random.choice([0, 0, 0, 1, 2, 30])):
            headers[self.random.choice(HEADERS)] = self.header_value()
        headers["Connection"] = "close"
        path, method = self.random.choice([*CALLS * 60, *PATHS])
        if self.random.random() < 0.05:
            method = self.random.choice(["GET", "PUT", "HEAD", "OPTIONS", "BREW"])
        head = f"{method} {self.target(path)} HTTP/1.{self.random.choices('1029', [94, 3, 1, 2])[0]}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = head.encode("utf-8", "replace") + b"\r\n" + body
        return self.damaged(whole) if self.random.random() < 0.15 else whole

    def target(self, path: str) -> str:
        if self.random.random() < 0.1:
            path += self.random.choice(
                ["?", "//", "/..", "%2f", "?page=-1", "?size=1e9", "#", "?" + "a=b&" * 3000, "/" + "x" * 9000]
            )
        return path

    def header_value(self) -> str:
        return self.random.choice(
            [*WORDS, "x" * 9000, "1" * 400, "gzip, gzip", "chunked, chunked", '{"a":' * 200, ",".join("t" * 300), "\t", "0.001", "-5"]
        ).replace("\x7f", "?")  # fmt: skip

    def body(self) -> bytes:
        choice = self.random.random()
        if choice < 0.08:
            return self.random.randbytes(self.random.choice([1, 20, 4000]))
        if choice < 0.2:
            return self.huge()
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "prompt": "x",
            "input": "x",
            "stream": self.random.random() < 0.3,
        }
        for _ in range(self.random.randrange(5)):
            body[self.random.choice(NAMES)] = self.value(3)
        text = json.dumps(body, ensure_ascii=self.random.random() < 0.5)
        if self.random.random() < 0.2:
            text = text[:-1] + f',"{self.random.choice(NAMES)}":{json.dumps(self.value(2))}}}'
        return text.replace("\\\\u", "\\u").encode("utf-8", "surrogatepass")

    def value(self, depth: int) -> object:
        kind = self.random.randrange(8 if depth else 6)
        if kind == 6:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        if kind == 7:
            return {self.random.choice(NAMES): self.value(depth - 1) for _ in range(self.random.randrange(4))}
        return [
            None,
            True,
            self.random.choice([0, -1, 10**30, 1.5, 1e300]),
            self.random.choice(WORDS),
            "x" * 3000,
            self.random.choice(WORDS) * 20,
        ][kind]

    def huge(self) -> bytes:
        """Up to the limit of what one stretch may look at: deep, wide, long."""
        start, pieces = (
            b'{"model":"m","messages":[{"role":"user","content":"Hi"}],',
            self.random.choice(
                [b"[]", b"{}", b'"a"', b"0", b'{"a":1}', b'"\\ud83d"', b'{"role":"user","content":"forbidden"}']
            ),
        )
        name = self.random.choice(NAMES).encode()
        count = self.random.choice([1000, 50_000, BODY_BYTES_MAX // (len(pieces) + 1)])
        shape = self.random.randrange(4)
        if shape == 0:
            return start + b'"%b":[%b]}' % (name, b",".join([pieces] * count))
        if shape == 1:
            deep = min(count, 100_000)
            return start + b'"%b":%b1%b}' % (name, b"[" * deep, b"]" * deep)
        if shape == 2:
            return start + b",".join(b'"%x":0' % i for i in range(count // 5)) + b"}"
        return start + b'"%b":"%b"}' % (
            name,
            self.random.choice([b"x", b"\\n", "日".encode(), b"\\u00e9"]) * (count // 3),
        )

    def packed(self, body: bytes, headers: dict[str, str]) -> bytes:
        choice = self.random.random()
        if choice < 0.7:
            return body
        headers["Content-Encoding"] = self.random.choice(["gzip", "deflate", "br", "GZIP", "identity"])
        if choice < 0.75:
            body = b'{"model":"m","metadata":{"a":"' + b" " * self.random.choice([1_000_000, 30_000_000]) + b'"}}'
        if choice < 0.8:
            return b"".join(gzip.compress(b"", 1) for _ in range(3000)) + gzip.compress(body, 1)
        return zlib.compress(body, 1) if headers["Content-Encoding"] == "deflate" else gzip.compress(body, 1)

    def chunks(self, body: bytes) -> bytes:
        size = max(1, len(body) // self.random.choice([1, 3, 500]))
        found = b"".join(
            b"%x\r\n%b\r\n" % (len(body[i : i + size]), body[i : i + size]) for i in range(0, len(body), size)
        )
        return found + self.random.choice([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n", b"-1\r\n\r\n", b""])

    def damaged(self, whole: bytes) -> bytes:
        at = self.random.randrange(len(whole))
        return self.random.choice(
            [
                lambda: whole[:at],
                lambda: whole[:at] + self.random.randbytes(3) + whole[at:],
                lambda: whole[:at] + bytes([whole[at] ^ (1 << self.random.randrange(8))]) + whole[at + 1 :],
                lambda: whole[:at] + whole[at : at + 50] * 3 + whole[at:],
                lambda: whole.replace(b"\r\n", b"\n"),
            ]
        )()


def said(port: int, request: bytes) -> bytes:
    """Everything that comes back. In a thread: the loop's time is the edge's alone."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        with contextlib.suppress(ConnectionError):
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                found += piece
        return found


def wrong(answer: bytes) -> str | None:
    """What is wrong with it; None: nothing. No answer at all is one, for who doesn't finish
    speaking.
    """
    if not answer:
        return None
    if not answer.startswith(b"HTTP/1."):
        return "no HTTP"
    status = int(answer[9:12])
    if b"Traceback" in answer or b'File "' in answer:
        return "a stack trace"
    if status >= 400 and status not in STATUSES:
        return f"status {status}"
    return None


@pytest.mark.alone
async def test_no_input_ends_in_a_500_or_holds_the_loop(start: Start) -> None:
    edge: Edge = await start(always(response(completion())), edge_body_timeout_ms=500)
    refuse_strangers(edge)
    stranger = edge.bus.answers["policy.decide"]
    assert stranger is not None
    good = edge.decide

    def decide(asked: DecideRequest) -> DecideReply:
        return good(asked) if asked.key_sha256 == GOOD or asked.customer_id is not None else stranger(asked)

    edge.bus.answers["policy.decide"] = decide
    gc.collect()
    gc.freeze()  # as the edge does: the tests' own objects aren't looked at while it works
    fuzz, sent, until = Fuzz(SEED), 0, time.monotonic() + SECONDS
    statuses: dict[int, int] = {}
    async with Stretches() as stretches:
        while time.monotonic() < until:
            request, before = await asyncio.to_thread(fuzz.request), stretches.longest_s
            answer = await asyncio.to_thread(said, edge.port, request)
            sent += 1
            fault = wrong(answer)
            assert fault is None, (SEED, sent, fault, request[:600], answer[:600])
            longer = stretches.longest_s if stretches.longest_s > before else 0.0
            bound = BUSY_S_MAX if b"sk-good" in request[:50_000] else STRANGER_S_MAX
            assert longer < bound, (SEED, sent, longer, len(request), request[:600], answer[:300])
            if answer:
                statuses[int(answer[9:12])] = statuses.get(int(answer[9:12]), 0) + 1
    assert sent > 30 and statuses.get(200) and statuses.get(401) and statuses.get(400), (SEED, sent, statuses)
    gc.unfreeze()
    print(f"{sent} requests, seed {SEED}, longest stretch {stretches.longest_s * 1000:.1f} ms, {statuses}")

"""The clients: known, unique requests, each one's outcome kept. No retries, unless the run is about
them.
"""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

from tests.chaos.records import Call
from tests.support.suite import MASTER_KEY

CALL_TIMEOUT_S = 40
PATIENCE_S = 15.0
"""How long a patient client looks for somebody who takes its connection."""
BODY_NOT_WRITTEN = "Can not write request body"
"""aiohttp's word for a connection that was closed before the request was on it: nobody can have
acted on half a request.
"""
STRANGER = "sk-nobody-ever-issued-this-one"


@dataclass(frozen=True)
class Key:
    """A credential and what the book must say of its calls."""

    plain: str
    sha256: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Mix:
    """Shares of all requests."""

    streams: float = 0.30
    leaving: float = 0.10
    failing: float = 0.05
    strangers: float = 0.01
    delays_ms: tuple[int, ...] = (1, 20, 80, 200)
    """One of them passes before the provider answers."""


CALM = Mix(leaving=0.0, failing=0.0, strangers=0.0)
"""Every one of them should end well."""


@dataclass
class Plan:
    """One request, drawn before it is sent."""

    call: Call
    key: Key
    body: dict[str, Any]
    leave_after_s: float | None
    edge: int
    headers: dict[str, str] = field(default_factory=dict)


class Load:
    """
    Args:
        run: goes into every id; unique among all loads of one book.
        edge_urls: each request picks one of them.
        patient: a request that wasn't sent (refused, or reset before its first byte went out) is
            tried again elsewhere.
    """

    def __init__(
        self,
        run: str,
        edge_urls: Sequence[str],
        keys: Sequence[Key],
        rng: random.Random,
        mix: Mix,
        *,
        patient: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.in_flight = 0
        self._run = run
        self._urls = list(edge_urls)
        self._keys = list(keys)
        self._rng = rng
        self._mix = mix
        self._patient = patient
        self._tasks: set[asyncio.Task[None]] = set()
        trace = aiohttp.TraceConfig(trace_config_ctx_factory=_same)
        trace.on_request_headers_sent.append(_headers_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
            trace_configs=[trace],
        )

    async def __aenter__(self) -> "Load":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def burst(self, count: int, over_s: float) -> None:
        """Start so many, evenly; return when the last has started."""
        for _ in range(count):
            self._start()
            await asyncio.sleep(over_s / count)

    async def flow(self, per_second: float, in_flight_max: int, stop: asyncio.Event) -> None:
        """A steady stream of requests, held back while `in_flight_max` are running. Returns when
        they have ended.
        """
        due = time.monotonic()
        while not stop.is_set():
            due += self._rng.expovariate(per_second)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.in_flight < in_flight_max:
                self._start()
            else:
                due = time.monotonic()
                await asyncio.sleep(0.02)
        await self.finish()

    async def finish(self) -> None:
        """Until every request that was started has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _start(self) -> None:
        task = asyncio.create_task(self._one(self._draw()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _draw(self) -> Plan:
        rng, mix = self._rng, self._mix
        user = f"{self._run}-{len(self.calls):06d}"
        stranger = rng.random() < mix.strangers
        key = Key(STRANGER, None, ()) if stranger else rng.choice(self._keys)
        stream = rng.random() < mix.streams
        chunks = rng.randint(4, 24) if stream else rng.randint(1, 30)
        words = rng.randint(1, 40)
        fake: dict[str, Any] = {"id": user, "text": user, "chunks": chunks, "delay_ms": rng.choice(mix.delays_ms)}
        if stream:
            fake["chunk_delay_ms"] = rng.choice((1, 10, 30))
        scripted = ""
        if rng.random() < mix.failing:
            scripted = rng.choice(("status", "status", "later", "later", "break", "reset", "slow", "hang"))
            ways: dict[str, dict[str, Any]] = {
                "status": {"status": rng.choice((429, 502, 503))},
                "later": {"status": 503, "fail_first": 1},
                "break": {"fault": "break", "break_after": rng.randint(1, 3)},
                "reset": {"fault": "reset"},
                "slow": {"delay_ms": 2_000},
                "hang": {"fault": "hang"},
            }
            fake |= ways[scripted]
        leaves = not stranger and rng.random() < mix.leaving
        tag = f"load-{rng.randint(1, 5)}"
        call = Call(
            user=user, key_sha256=key.sha256, tags=[*key.tags, tag], stream=stream, prompt_tokens=words,
            completion_tokens=chunks, scripted="" if scripted in ("later", "slow") else scripted, leaves=leaves,
        )  # fmt: skip
        self.calls.append(call)
        body = {
            "model": "chaos-pair" if scripted == "later" else "chaos",
            "messages": [{"role": "user", "content": " ".join(["word"] * words)}],
            "user": user, "stream": stream, "metadata": {"tags": [tag]}, "fake": fake,
        }  # fmt: skip
        return Plan(call, key, body, rng.uniform(0.002, 0.25) if leaves else None, rng.randrange(len(self._urls)))

    async def _one(self, plan: Plan) -> None:
        call = plan.call
        self.in_flight += 1
        call.started_at = time.time()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                sent = SimpleNamespace(headers=False)
                await self._attempt(plan, sent)
                unsent = not sent.headers or BODY_NOT_WRITTEN in call.detail
                again = self._patient and call.outcome in ("unreachable", "cut") and unsent
                if not again or time.monotonic() > deadline:
                    return
                plan.edge += 1
                await asyncio.sleep(0.02)
        finally:
            call.ended_at = time.time()
            self.in_flight -= 1

    async def _attempt(self, plan: Plan, sent: SimpleNamespace) -> None:
        """One try, start to finish; the call's record says what came of it."""
        call = plan.call
        call.outcome, call.detail = "cut", ""
        url = self._urls[plan.edge % len(self._urls)] + "/v1/chat/completions"
        try:
            async with asyncio.timeout(plan.leave_after_s):
                headers = {"Authorization": f"Bearer {plan.key.plain}"}
                async with self._session.post(url, json=plan.body, headers=headers, trace_request_ctx=sent) as response:
                    call.status = response.status
                    call.request_id = response.headers.get("x-tollgate-request-id")
                    if response.status == 200 and call.stream:
                        await _read_stream(response, call)
                    else:
                        _judge(await response.read(), call)
        except aiohttp.ClientConnectorError as error:
            call.outcome, call.detail = "unreachable", type(error).__name__
        except TimeoutError:  # an OSError too
            if plan.leave_after_s is not None and call.outcome == "cut":
                call.outcome = "left"
            else:
                call.detail = "no answer in time"
        except (aiohttp.ClientError, OSError) as error:
            call.detail = f"{type(error).__name__}: {error}"[:200]


def _same(trace_request_ctx: SimpleNamespace) -> SimpleNamespace:
    return trace_request_ctx


async def _headers_sent(_session: object, context: SimpleNamespace, _params: object) -> None:
    context.headers = True


def _judge(body: bytes, call: Call) -> None:
    """An answer in one piece: `response.read` has checked that it is whole."""
    if call.status != 200:
        call.outcome, call.detail = "error", body[:300].decode(errors="replace")
        return
    call.outcome = "complete"
    try:
        answer = json.loads(body)
        text, usage = answer["choices"][0]["message"]["content"], answer["usage"]
        _compare(text, call)
        if (usage["prompt_tokens"], usage["completion_tokens"]) != (call.prompt_tokens, call.completion_tokens):
            call.whole, call.detail = False, f"usage {usage}"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        call.whole, call.detail = False, f"{type(error).__name__}: {body[:200]!r}"


async def _read_stream(response: aiohttp.ClientResponse, call: Call) -> None:
    """Until `[DONE]`. Without it the stream was cut, however the connection ended."""
    text = ""
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            call.outcome = "complete"
            _compare(text, call)
            return
        event = json.loads(data)
        if "error" in event:
            call.outcome, call.detail = "error_event", str(event["error"])[:300]
            return
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""


def _compare(text: str, call: Call) -> None:
    words = text.split()
    if words != [call.user] * call.completion_tokens:
        call.whole, call.detail = False, f"{len(words)} words, {set(words)}, wanted {call.completion_tokens}"


async def make_keys(edge_url: str, prefix: str, count: int = 6) -> list[Key]:
    """Issue keys with tags of their own; every second one belongs to a team that has a tag too."""
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    keys = []
    async with aiohttp.ClientSession(base_url=edge_url, headers=headers, raise_for_status=True) as session:
        team = {"team_id": f"{prefix}-team", "metadata": {"tags": [f"{prefix}-team"]}}
        async with session.post("/team/new", json=team):
            pass
        for number in range(count):
            tag = f"{prefix}-key-{number}"
            body: dict[str, Any] = {"metadata": {"tags": [tag]}}
            tags = [tag]
            if number % 2:
                body["team_id"] = team["team_id"]
                tags.append(f"{prefix}-team")
            async with session.post("/key/generate", json=body) as response:
                plain = (await response.json())["key"]
            keys.append(Key(plain, hashlib.sha256(plain.encode()).hexdigest(), tuple(tags)))
    return keys


REVOKED_S = 1.0
"""How long a revoked key may go on working where nothing is wrong."""


async def revoke(run: str, edge_urls: Sequence[str], rng: random.Random) -> list[Call]:
    """A key that every edge knows is deleted: calls before, which must be answered, and after,
    which must not.
    """
    (key,) = await make_keys(edge_urls[0], run, 1)
    calls: list[Call] = []
    for when, known in (("before", key), ("after", Key(key.plain, None, ()))):
        for number, url in enumerate(edge_urls):
            async with Load(f"{run}-{when}-{number}", [url], [known], rng, CALM) as load:
                await load.burst(3, 0.1)
                await load.finish()
            calls += load.calls
        if when == "before":
            await _delete(edge_urls[0], key)
            await asyncio.sleep(REVOKED_S)
    return calls


async def _delete(edge_url: str, key: Key) -> None:
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    async with (
        aiohttp.ClientSession(base_url=edge_url, headers=headers, raise_for_status=True) as session,
        session.post("/key/delete", json={"keys": [key.plain]}),
    ):
        pass

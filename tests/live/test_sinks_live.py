"""A team's Langfuse, set by API through the edge, gets the team's calls and nobody else's; its
secret is nowhere to be seen.
"""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from tests.live.conftest import MASTER, eventually, new_key
from tests.support.serving import handled_by, serving
from tests.support.suite import MOCK_CONFIG, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")
CANARY = "sk-lf-canary-0123456789abcdef"


class Langfuse:
    def __init__(self) -> None:
        self.url = ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        """(who authenticated, event)."""

    async def take(self, request: web.Request) -> web.Response:
        who = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        batch = msgspec.json.decode(await request.read())["batch"]
        self.events += [(who, event) for event in batch]
        return web.json_response({"successes": [], "errors": []}, status=207)

    def of(self, who: str) -> list[str]:
        return [
            event["body"]["metadata"]["key_alias"]
            for name, event in self.events
            if name == who and event["type"] == "trace-create"
        ]


@pytest_asyncio.fixture(loop_scope="session")
async def langfuse() -> AsyncIterator[Langfuse]:
    made = Langfuse()
    async with serving(handled_by(made.take, "POST", "/api/public/ingestion")) as made.url:
        yield made


async def test_a_teams_langfuse(tmp_path: Path, http: aiohttp.ClientSession, langfuse: Langfuse) -> None:
    config = MOCK_CONFIG + "litellm_settings:\n  success_callback: [langfuse]\n"
    env = {
        "TOLLGATE_SINK_NETWORKS": "127.0.0.1/32", "LANGFUSE_PUBLIC_KEY": "pk-file", "LANGFUSE_SECRET_KEY": "secret-of-file",
        "LANGFUSE_HOST": langfuse.url, "LITELLM_SALT_KEY": "a salt that only three services know",
    }  # fmt: skip
    async with RunningSuite(tmp_path, config, env=env) as suite:

        async def manage(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            async with http.request(method, suite.edge_url + path, json=body, headers=MASTER) as answer:
                return answer.status, await answer.json()

        await manage("POST", "/team/new", {"team_id": "a"})
        variables = {"langfuse_public_key": "pk-a", "langfuse_secret_key": CANARY, "langfuse_host": langfuse.url}
        status, answer = await manage(
            "POST",
            "/team/a/callback",
            {"callback_name": "langfuse", "callback_type": "success", "callback_vars": variables},
        )
        assert status == 200, answer
        a, b = await new_key(http, suite, team_id="a", key_alias="of-a"), await new_key(http, suite, key_alias="of-b")
        own = {
            "logging": [{"callback_name": "langfuse", "callback_vars": {**variables, "langfuse_public_key": "pk-key"}}]
        }
        c = await new_key(http, suite, team_id="a", key_alias="of-key", metadata=own)
        body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
        for key in (a, b, c):
            headers = {"Authorization": f"Bearer {key}"}
            async with http.post(suite.edge_url + "/chat/completions", json=body, headers=headers) as said:
                assert said.status == 200
        wanted = {f"pk-a:{CANARY}": ["of-a"], "pk-file:secret-of-file": ["of-b"], f"pk-key:{CANARY}": ["of-key"]}

        async def sent() -> dict[str, list[str]]:
            return {who: langfuse.of(who) for who in wanted}

        await eventually(sent, wanted)
        seen = [
            await manage("GET", path)
            for path in ("/team/a/callback", "/team/info?team_id=a", "/audit?page_size=100", f"/key/info?key={c}")
        ]
        assert all(status == 200 for status, _ in seen)
        assert CANARY not in str(seen)
        processes = await asyncio.to_thread(_environments, "services.moderation")
        assert processes and all("a salt that only" not in text for text in processes)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    found = [str(path) for path in files if CANARY.encode() in path.read_bytes()]
    assert found == [], "the secret lies on the disk"


def _environments(program: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if program in command:
                found.append(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found


KEEPING = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, mock_response: "Hello, said the model"}
litellm_settings:
  callbacks: [hide_secrets]
general_settings:
  master_key: sk-1234
  store_prompts_in_spend_logs: false
"""


async def test_prompts_are_kept_where_somebody_wants_it_and_nowhere_else(
    tmp_path: Path, http: aiohttp.ClientSession, langfuse: Langfuse
) -> None:
    env = {"TOLLGATE_SINK_NETWORKS": "127.0.0.1/32", "LITELLM_SALT_KEY": "a salt that only three services know"}
    async with RunningSuite(tmp_path, KEEPING, env=env) as suite:

        async def call(key: str, text: str, headers: dict[str, str] | None = None, **more: Any) -> str:
            body = {"model": "mock", "messages": [{"role": "user", "content": text}], **more}
            sent = {"Authorization": f"Bearer {key}", **(headers or {})}
            async with http.post(suite.edge_url + "/chat/completions", json=body, headers=sent) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
                return answer.headers["x-litellm-call-id"]

        async def row(call_id: str, key: str = "sk-1234", *, text: bool = True) -> dict[str, Any]:
            async def ask() -> Any:
                url = f"{suite.edge_url}/spend/logs/ui/{call_id}"
                async with http.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                    return (await answer.json()) if answer.status == 200 else {}

            found = await eventually(ask, lambda found: bool(found) and (not text or bool(found["messages"])))
            return dict(found)

        async def viewer() -> str:
            body = {"user_id": "vera", "user_role": "proxy_admin_viewer"}
            async with http.post(suite.edge_url + "/user/new", json=body, headers=MASTER) as answer:
                return str((await answer.json())["key"])

        keeping = {"metadata": {"store_prompts_in_spend_logs": True}}
        kept = await new_key(http, suite, key_alias="kept", user_id="ann", **keeping)
        plain = await new_key(http, suite, key_alias="plain")
        variables = {"langfuse_public_key": "pk", "langfuse_secret_key": "s", "langfuse_host": langfuse.url}
        entry = {"callback_name": "langfuse", "callback_vars": variables}
        sent = await new_key(http, suite, key_alias="sent", metadata={"logging": [entry]})
        hidden = {**entry, "callback_vars": {**variables, "turn_off_message_logging": "true"}}
        silent = await new_key(http, suite, key_alias="silent", metadata={"logging": [hidden]})

        secret = "AKIAIOSFODNN7EXAMPLQ"
        first = await row(await call(kept, f"the key is {secret}, keep it"))
        assert first["messages"] == [{"role": "user", "content": "the key is [REDACTED], keep it"}]
        assert first["response"]["choices"][0]["message"]["content"] == "Hello, said the model"
        assert first["proxy_server_request"]["messages"] == first["messages"] and first["truncated"] == []
        streamed = await row(await call(kept, "stream it", stream=True))
        assert streamed["response"]["choices"][0]["message"]["content"] == "Hello, said the model"
        assert (await row(streamed["metadata"]["id"], kept))["messages"] == streamed["messages"], "its owner sees it"
        assert (await row(streamed["metadata"]["id"], await viewer(), text=False))["messages"] == {}
        off = [
            await call(plain, "word-plain"),
            await call(kept, "word-no-log", **{"no-log": True}),
            await call(kept, "word-header", {"x-litellm-enable-message-redaction": "true"}),
            await call(silent, "word-silent"),
        ]
        by_sink = await call(sent, "word-sent")
        for call_id in (*off, by_sink):
            assert (await row(call_id, text=False))["messages"] == {}, "only sinks get it, or nobody"

        async def heard() -> list[str]:
            return sorted(
                str(event["body"].get("input")) for _, event in langfuse.events if event["type"] == "trace-create"
            )

        await eventually(heard, ["None", "[{'role': 'user', 'content': 'word-sent'}]"])
        long = await row(await call(kept, "x" * 80_000))
        assert (
            long["truncated"] == ["request"] and isinstance(long["messages"], str) and len(long["messages"]) == 65_536
        )
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for word in (secret, "word-plain", "word-no-log", "word-header", "word-silent"):
        assert word.encode() not in held, f"{word} lies on the disk"

"""The configuration is read again without a restart: by itself when the file changes, and on
SIGHUP.
"""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.live.conftest import eventually
from tests.support.serving import handled_by, serving
from tests.support.suite import MOCK_CONFIG, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

RELOADING = ("edge", "policy", "moderation")
GRACE = {"TOLLGATE_MASTER_KEY_GRACE_S": "2"}
SECOND = """  - model_name: second
    litellm_params: {model: openai/second, mock_response: "I am new", input_cost_per_token: 0.000001, output_cost_per_token: 0.000001}
"""
WITH_SECOND = MOCK_CONFIG.replace("general_settings:", SECOND + "general_settings:")
GUARDED = WITH_SECOND + 'litellm_settings:\n  callbacks: ["banned_keywords"]\n  banned_keywords_list: ["forbidden"]\n'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(tmp_path_factory: Any) -> AsyncIterator[RunningSuite]:
    """Two edges and two policies."""
    async with RunningSuite(tmp_path_factory.mktemp("reload"), replicas="edge=2,policy=2", env=GRACE) as running:
        yield running


async def status(
    http: aiohttp.ClientSession, url: str, model: str = "mock", key: str = "sk-1234", text: str = "x"
) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(url + "/v1/chat/completions", json=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def everywhere(http: aiohttp.ClientSession, suite: RunningSuite, **asked: str) -> list[int]:
    """From both edges, four times each: whichever policy answers."""
    return [await status(http, url, **asked) for _ in range(4) for url in suite.edge_urls]


async def in_force(http: aiohttp.ClientSession, suite: RunningSuite) -> list[float]:
    found = []
    ports = [
        process["probe_port"] for name, process in suite.state()["processes"].items() if name.startswith(RELOADING)
    ]
    for port in ports:
        async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
        found += [
            float(line.split()[1]) for line in text.splitlines() if line.startswith("tollgate_configuration_in_force ")
        ]
    return found


async def test_a_model_is_added_and_taken_away_while_calls_run(pair: RunningSuite, http: aiohttp.ClientSession) -> None:
    stop, seen = asyncio.Event(), []

    async def calls() -> None:
        while not stop.is_set():
            seen.extend([await status(http, url) for url in pair.edge_urls])

    running = asyncio.create_task(calls())
    assert set(await everywhere(http, pair, model="second")) == {400}
    pair.config_path.write_text(WITH_SECOND)
    await eventually(lambda: everywhere(http, pair, model="second"), lambda found: set(found) == {200})
    pair.config_path.write_text(MOCK_CONFIG)
    await eventually(lambda: everywhere(http, pair, model="second"), lambda found: set(found) == {400})
    stop.set()
    await running
    assert len(seen) > 20 and set(seen) == {200}, "no call of another model notices"


def mount(config: Path, text: str) -> None:
    """As a kubelet updates a mounted ConfigMap: a new directory, and the one link that leads to the
    files is renamed over the old one.
    """
    directory = Path(tempfile.mkdtemp(prefix="..", dir=config.parent))
    (directory / config.name).write_text(text)
    link, data = config.parent / "..data_tmp", config.parent / "..data"
    link.symlink_to(directory.name)
    link.rename(data)
    if not config.is_symlink():
        config.unlink()
        config.symlink_to(f"..data/{config.name}")


async def test_a_config_map_is_swapped_by_its_link(pair: RunningSuite, http: aiohttp.ClientSession) -> None:
    mount(pair.config_path, MOCK_CONFIG)
    for text, found in ((WITH_SECOND, 200), (MOCK_CONFIG, 400)):
        mount(pair.config_path, text)
        await eventually(lambda: everywhere(http, pair, model="second"), [found] * 8)
    pair.config_path.unlink()
    pair.config_path.write_text(MOCK_CONFIG)


async def test_a_file_that_is_wrong_changes_nothing_and_says_so(
    pair: RunningSuite, http: aiohttp.ClientSession
) -> None:
    wrong = [
        "",
        "model_list: [",
        "general_settings: {master_key: short}\nmodel_list: []\nlitellm_settings: {ssl_verify: {a: 1}}\n",
    ]
    for text in wrong:
        pair.config_path.write_text(text)
        await eventually(lambda: in_force(http, pair), lambda found: 0.0 in found)
        assert set(await everywhere(http, pair)) == {200}
        pair.config_path.write_text(MOCK_CONFIG)
        await eventually(lambda: in_force(http, pair), lambda found: set(found) == {1.0})


async def test_a_guardrail_is_switched_on_and_off(pair: RunningSuite, http: aiohttp.ClientSession) -> None:
    assert set(await everywhere(http, pair, text="forbidden")) == {200}
    pair.config_path.write_text(GUARDED)
    await eventually(lambda: everywhere(http, pair, text="forbidden"), lambda found: set(found) == {400})
    assert set(await everywhere(http, pair, text="fine")) == {200}

    async def counting_on_it() -> dict[str, Any]:
        """Each policy reads the file when it sees it: the one that is asked may not know the
        guardrail yet.
        """
        async with http.post(
            pair.edge_urls[0] + "/key/generate",
            json={"guardrails": ["banned_keywords"]},
            headers={"Authorization": "Bearer sk-1234"},
        ) as made:
            return dict(await made.json())

    counts_on_it = (await eventually(counting_on_it, lambda made: "key" in made))["key"]
    await eventually(lambda: everywhere(http, pair, text="fine", key=counts_on_it), lambda found: set(found) == {200})
    pair.config_path.write_text(MOCK_CONFIG)
    await eventually(lambda: everywhere(http, pair, text="forbidden"), lambda found: set(found) == {200})
    await eventually(lambda: everywhere(http, pair, text="fine", key=counts_on_it), lambda found: set(found) == {503})
    pair.config_path.write_text(GUARDED)
    await eventually(lambda: everywhere(http, pair, text="fine", key=counts_on_it), lambda found: set(found) == {200})
    pair.config_path.write_text(MOCK_CONFIG)
    await eventually(lambda: everywhere(http, pair, text="forbidden"), lambda found: set(found) == {200})


async def test_the_master_key_is_another_one(pair: RunningSuite, http: aiohttp.ClientSession) -> None:
    new = "sk-another-master-key"
    pair.config_path.write_text(MOCK_CONFIG.replace("sk-1234", new))
    await eventually(lambda: everywhere(http, pair, key=new), lambda found: set(found) == {200})
    await eventually(lambda: everywhere(http, pair, key="sk-1234"), lambda found: set(found) == {401})
    pair.config_path.write_text(MOCK_CONFIG)
    await eventually(lambda: everywhere(http, pair), lambda found: set(found) == {200})


async def test_sighup_reads_again_what_the_file_refers_to(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    """The file stays as it is; the key that it refers to is another one now."""
    seen: list[str] = []

    async def provider(request: web.Request) -> web.Response:
        seen.append(request.headers["authorization"])
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
        return web.json_response(
            {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        )

    async def sent() -> str:
        assert await status(http, suite.edge_url, model="real") == 200
        return seen[-1]

    key = tmp_path / "key"
    key.write_text("the-first")
    async with serving(handled_by(provider, "POST", "/v1/chat/completions")) as url:
        entry = f"  - model_name: real\n    litellm_params: {{model: openai/m, api_base: '{url}/v1', api_key: file/{key}}}\n"
        config = MOCK_CONFIG.replace("general_settings:", entry + "general_settings:")
        async with RunningSuite(tmp_path, config, env={"TOLLGATE_SECRET_FILE_DIRS": str(tmp_path)}) as suite:
            assert await sent() == "Bearer the-first"
            key.write_text("the-second")
            await asyncio.sleep(2.5)
            assert await sent() == "Bearer the-first"
            suite.process.send_signal(signal.SIGHUP)
            await eventually(sent, "Bearer the-second")

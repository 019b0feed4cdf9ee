"""A cache that all edges share, and processes killed while an answer is on its way into it: nobody
ever gets half of one.
"""

from pathlib import Path

import aiohttp

from tests.live.conftest import MASTER, eventually
from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

CONFIG = """
model_list:
  - {model_name: fake, litellm_params: {model: openai/fake, api_base: "%s", api_key: k}}
litellm_settings: {cache: true}
general_settings: {master_key: sk-1234}
"""
BODY = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": "x"}]}
DONE = b"data: [DONE]\n\n"


async def test_what_is_killed_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, aiohttp.ClientSession() as http:
        upstream.behaviours["fake"] = Behaviour(text="a whole answer, word by word", chunks=10, chunk_delay_ms=40)
        async with RunningSuite(tmp_path, CONFIG % upstream.base_url) as suite:

            async def ask() -> tuple[int, bytes, bool]:
                """(status, what came, whether it was in the cache)."""
                try:
                    async with http.post(suite.edge_url + "/v1/chat/completions", json=BODY, headers=MASTER) as answer:
                        return answer.status, await answer.read(), "x-litellm-cache-key" in answer.headers
                except aiohttp.ClientError:
                    return 0, b"", False

            async def served() -> bool:
                return (await ask())[0] == 200

            for name in ("edge", "nats"):
                came = b""
                try:
                    async with http.post(suite.edge_url + "/v1/chat/completions", json=BODY, headers=MASTER) as answer:
                        assert answer.status == 200 and "x-litellm-cache-key" not in answer.headers
                        async for data in answer.content.iter_any():
                            if not came:
                                suite.kill(name)
                            came += data
                except aiohttp.ClientError:
                    assert name == "edge"
                assert came and (name == "nats" or DONE not in came), "killed in the middle"
                before = len(upstream.requests)
                await eventually(served, True, 60)
                assert len(upstream.requests) > before or name == "nats", "it was asked anew"
                # What follows is whole, whoever made it; and what is said from the cache is what a
                # provider said, to the byte.
                status, whole, _ = await ask()
                assert status == 200 and whole.endswith(DONE) and b"word" in whole
                hit = await eventually(ask, lambda found: found[2], 60)
                assert hit[0] == 200 and hit[1].endswith(DONE) and hit[1].count(b"data: ") == whole.count(b"data: ")
                async with http.post(suite.edge_url + "/cache/flushall", headers=MASTER) as answer:
                    assert answer.status == 200

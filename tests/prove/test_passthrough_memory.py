"""200 uploads of 10 MB and 20 downloads of 100 MB through one edge: its memory stays flat. Target
and clients are other processes.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from services.edge.surfaces import passthrough
from shared import passthrough as entries
from tests.edge.harness import Edge
from tests.support.ports import free_port

MB = 1024 * 1024
AT_ONCE = 20

TARGET = """
import asyncio, sys
from aiohttp import web
async def take(request):
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.json_response({"received": size})
async def give(request):
    answer = web.StreamResponse(headers={"Content-Length": str(100 * 1024 * 1024)})
    await answer.prepare(request)
    for _ in range(400):
        await answer.write(bytes(262144))
    return answer
app = web.Application()
app.router.add_put("/up", take)
app.router.add_get("/down", give)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
CLIENT = """
import asyncio, sys, aiohttp
url, up, down, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
async def body():
    for _ in range(40):
        yield bytes(262144)
async def main():
    slots = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-x"}, timeout=aiohttp.ClientTimeout(total=600)) as session:
        async def one(is_up):
            async with slots:
                if is_up:
                    async with session.put(url + "/up", data=body()) as answer:
                        assert (await answer.json())["received"] == 10485760, answer.status
                else:
                    async with session.get(url + "/down") as answer:
                        size = 0
                        async for chunk in answer.content.iter_any():
                            size += len(chunk)
                        assert size == 104857600
        await asyncio.gather(*(one(n < up) for n in range(up + down)))
asyncio.run(main())
"""


def rss_mb() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 1024


async def test_memory_is_flat() -> None:
    port = free_port()
    target = subprocess.Popen([sys.executable, "-c", TARGET, str(port)])
    try:
        async with Edge({"m": ["mock:x"]}) as edge:
            edge.parts.passthrough = entries.read(
                [{"path": "/t", "target": f"http://127.0.0.1:{port}", "include_subpath": True}], {}
            )
            url = f"http://127.0.0.1:{edge.port}/t"

            async def run(up: int, down: int) -> float:
                arguments = [url, str(up), str(down), str(AT_ONCE)]
                client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, *arguments)
                most = rss_mb()
                while client.returncode is None:
                    most = max(most, rss_mb())
                    await asyncio.sleep(0.05)
                assert client.returncode == 0
                return most

            await asyncio.sleep(1)
            before = await run(AT_ONCE, 2)  # once round: pools and buffers are there
            most = await run(200, 20)
            print(f"before {before:.0f} MB, at most {most:.0f} MB")
            assert most - before <= 20
            assert len(edge.settled()) == AT_ONCE + 2 + 220 and passthrough.NAME
    finally:
        target.kill()
        target.wait()

"""The provider of a chaos run: a fake upstream as a process of its own, which keeps its bill in a
file.

`python -m tests.chaos.provider PORT BILL`. It is no target: what it wrote stands. How it answers is
told by each request's field `fake` (tests.support.upstream.Behaviour).
"""

import asyncio
import os
import sys
import time
from typing import Any

import msgspec
from aiohttp import web

from tests.chaos.records import BillLine
from tests.support.upstream import Behaviour, FakeUpstream, Recorded, prompt_tokens


class Provider(FakeUpstream):
    """Appends a line when a call starts, before a byte is answered, and one when it has ended."""

    def __init__(self, port: int, bill_path: str, host: str = "127.0.0.1") -> None:
        super().__init__(host, port)
        self._file = os.open(bill_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _note(self, line: BillLine) -> None:
        line.at = time.time()
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    async def _behave(
        self, request: web.Request, asked: dict[str, Any], behaviour: Behaviour, record: Recorded
    ) -> web.StreamResponse:
        self.requests.clear()
        user, sent = str(asked.get("user")), prompt_tokens(asked)
        self._note(BillLine(user=user, event="started", prompt_tokens=sent))
        status = 0
        try:
            response = await super()._behave(request, asked, behaviour, record)
            status = response.status
            return response
        finally:
            event = record.outcome if record.outcome != "running" else "cancelled"
            if event == "complete" and status != 200:
                event = "error"
            answered = behaviour.chunks or 0
            self._note(
                BillLine(user=user, event=event, prompt_tokens=sent, completion_tokens=answered * (event == "complete"))
            )


async def _serve(port: int, bill_path: str) -> None:
    async with Provider(port, bill_path) as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
    except KeyboardInterrupt:
        pass

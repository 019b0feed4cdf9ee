"""Raw bytes against a running edge, and what may come back."""

import asyncio
import json

from tests.edge.fakes import Answer
from tests.edge.harness import Edge

MB = 1024 * 1024
SECRET = "sk-the-callers-secret-0123456789"
GOOD = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {SECRET}\r\n".encode()


def request(body: bytes = GOOD, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces: bytes, headers: bytes = b"") -> bytes:
    return (
        HEAD
        + headers
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
        + b"0\r\n\r\n"
    )


async def sent(edge: Edge, data: bytes) -> Answer | None:
    """The first answer to these bytes; None when the connection was closed without one."""
    async with await edge.connect() as caller:
        caller.writer.write(data)
        try:
            return await caller.answer()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


async def refused(edge: Edge, data: bytes) -> Answer:
    answer = await sent(edge, data)
    assert answer is not None
    assert 400 <= answer.status < 500, answer
    answer.error()
    return answer

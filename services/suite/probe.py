"""Asking a child on this machine how it is. By hand: an HTTP client would cost the supervisor 30
MB.
"""

import asyncio

from services.suite.settings import LOOPBACK


async def status_of(port: int, path: str) -> int:
    """The status of `GET path`; 0 for what isn't HTTP. Raises OSError or
    asyncio.IncompleteReadError; the caller has the deadline.
    """
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readuntil(b"\r\n")
    finally:
        writer.close()
    status = status_line.split(b" ")[1:2]
    return int(status[0]) if status and status[0].isdigit() else 0

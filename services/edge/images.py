"""Logo and icon: a file inside an allowed folder, or an address that is asked at most once in a
while. Only images leave here.
"""

import asyncio
import time
from pathlib import Path

import structlog

from services.edge.site import Site
from shared.outbound import Outbound, OutboundError

log = structlog.get_logger()

BYTES_MAX = 1024 * 1024
DEADLINE_MS = 5_000
KEPT_S = 600.0
FAILED_S = 30.0

DEFAULT_LOGO = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 24" width="120" height="24"><path d="M2 20V6h20v14h-4v-7H6v7z" '
    b'fill="#2563eb"/><text x="30" y="18" font-family="sans-serif" font-size="16" fill="#111827">Tollgate</text></svg>'
)
DEFAULT_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="24" height="24">'
    b'<path d="M2 20V6h20v14h-4v-7H6v7z" fill="#2563eb"/></svg>'
)
SVG = "image/svg+xml"

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\0\0\x01\0", "image/x-icon"),
)


def kind_of(data: bytes) -> str | None:
    """The image's type, by its first bytes; None: it is none."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return SVG if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start else None


class Images:
    """
    Args:
        outbound: for addresses; None: they aren't asked.
    """

    def __init__(self, site: Site, outbound: Outbound | None) -> None:
        self._site = site
        self._outbound = outbound
        self._kept: dict[str, tuple[float, tuple[bytes, str] | None]] = {}
        self._lock = asyncio.Lock()

    async def logo(self) -> tuple[bytes, str]:
        """Bytes and type."""
        return await self._find(self._site.logo) or (DEFAULT_LOGO, SVG)

    async def icon(self) -> tuple[bytes, str]:
        return await self._find(self._site.favicon) or (DEFAULT_ICON, SVG)

    async def _find(self, place: str | None) -> tuple[bytes, str] | None:
        if place is None:
            return None
        async with self._lock:  # one asks, the others wait for what it finds
            until, found = self._kept.get(place, (0.0, None))
            if time.monotonic() >= until:
                data = await self._load(place)
                kind = None if data is None else kind_of(data)
                found = None if data is None or kind is None else (data, kind)
                if found is None:
                    log.warning("image_not_shown", place=place[:200])
                self._kept[place] = time.monotonic() + (KEPT_S if found else FAILED_S), found
            return found

    async def _load(self, place: str) -> bytes | None:
        if place.lower().startswith(("http://", "https://")):
            if self._outbound is None:
                return None
            try:
                answer = await self._outbound.send("GET", place, deadline_ms=DEADLINE_MS, answer_bytes_max=BYTES_MAX)
            except OutboundError:
                return None
            return answer.body if answer.status == 200 else None
        return await asyncio.to_thread(_read, place, self._site.assets_dir)


def _read(place: str, folder: str | None) -> bytes | None:
    if folder is None:
        return None
    allowed = Path(folder).resolve()
    file = (allowed / place).resolve()  # also what a symbolic link stands for
    try:
        if not file.is_relative_to(allowed) or not file.is_file() or file.stat().st_size > BYTES_MAX:
            return None
        return file.read_bytes()
    except OSError:
        return None

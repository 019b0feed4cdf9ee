"""How large requests, answers and files may be, by `general_settings` and by key and team. Whoever is over it is told so, and an alert
goes out.

    max_request_size_mb                              counted unpacked, and while it arrives
    max_response_size_mb                             real bytes: an answer isn't passed on, a stream is cut with an error event
    max_file_size_mb                                 of one uploaded file
    allowed_file_extensions, blocked_file_extensions

A key's or team's own limits (`metadata.max_request_size_mb`, `metadata.max_response_size_mb`) come with its grant; the smallest counts.
`TOLLGATE_EDGE_BODY_BYTES_MAX` bounds what an edge reads whatever is set here (413).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from services.edge import reading
from services.edge.http import Request
from services.edge.reading import Head
from shared import errors
from shared.config import ConfigError
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.grant import Grant

if TYPE_CHECKING:
    from services.edge.parts import Parts

MB = 1024 * 1024


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """In the megabytes (of 1,048,576 bytes) that the settings are in: the messages repeat them as they were written."""

    request_mb: float | int | None = None
    response_mb: float | int | None = None
    file_mb: float | int | None = None
    allowed_extensions: tuple[str, ...] | None = None
    """Lower case, without the dot; None: all."""
    blocked_extensions: tuple[str, ...] = ()

    @property
    def limits_files(self) -> bool:
        return self.file_mb is not None or self.allowed_extensions is not None or bool(self.blocked_extensions)

    def file_refusal(self, name: str, size_bytes: int) -> Refusal | None:
        """Why a file may not be uploaded."""
        extension = name.rpartition(".")[2].lower() if "." in name else ""
        if extension in self.blocked_extensions or (
            self.allowed_extensions is not None and extension not in self.allowed_extensions
        ):
            return errors.file_extension(extension, self.allowed_extensions)
        if self.file_mb is not None and size_bytes > self.file_mb * MB:
            return errors.file_too_large(size_bytes, self.file_mb)
        return None


def read(general_settings: Mapping[str, Any]) -> Sizes:
    """Raises ConfigError."""
    numbers = {}
    for name in ("request", "response", "file"):
        key = f"max_{name}_size_mb"
        value = general_settings.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            raise ConfigError(f"general_settings.{key}: a number above 0 is needed, not {value!r}")
        numbers[f"{name}_mb"] = value
    allowed = _extensions(general_settings, "allowed_file_extensions")
    return Sizes(
        **numbers,
        allowed_extensions=allowed,
        blocked_extensions=_extensions(general_settings, "blocked_file_extensions") or (),
    )


def _extensions(general_settings: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = general_settings.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"general_settings.{key}: a list of extensions is needed, such as ['.pdf', '.txt']")
    return tuple(each.lower().lstrip(".") for each in value)


def arrived(parts: "Parts", request: Request) -> bytes | None:
    """The body, where it is here already, as it is, and so small that it is nobody's matter; None: `body` reads it."""
    length, free_bytes = request.content_length, reading.HELD_FREE_BYTES
    if length is None or length > free_bytes or request.field(b"content-encoding") is not None:
        return None
    if parts.sizes.request_mb is not None or parts.settings.edge_body_bytes_max < free_bytes:
        return None
    return request.whole_body()


async def body(parts: "Parts", request: Request, head: Head, route: str) -> bytes:
    """The body of somebody we know. Raises RefusedError."""
    settings, mb = parts.settings, parts.sizes.request_mb
    bytes_max = settings.edge_body_bytes_max
    if mb is None or mb * MB >= bytes_max:
        return await reading.body(request, bytes_max, settings.edge_body_timeout_ms)

    def too_large(size_bytes: int | None, limit_bytes: int) -> Refusal:
        refusal = errors.request_too_large(limit_bytes + 1 if size_bytes is None else size_bytes, mb)
        tell(parts, refusal, route, request.remote, parts.grants.caller(head.digest))
        return refusal

    return await reading.body(request, int(mb * MB), settings.edge_body_timeout_ms, too_large)


def check_request(parts: "Parts", grant: Grant, route: str, address: str | None, size_bytes: int) -> None:
    """The key's and team's own limit, once they are known. Raises RefusedError."""
    mb = grant.max_request_size_mb
    if mb is not None and size_bytes > mb * MB:
        refusal = errors.request_too_large(size_bytes, mb)
        tell(parts, refusal, route, address, grant.caller)
        raise RefusedError(refusal)


def response_mb(parts: "Parts", grant: Grant) -> float | None:
    """The limit of what this caller may be answered; None: none."""
    ours, theirs = parts.sizes.response_mb, grant.max_response_size_mb
    return ours if theirs is None else theirs if ours is None else min(ours, theirs)


def response_refusal(
    parts: "Parts", grant: Grant, route: str, address: str | None, size_bytes: int, mb: float
) -> Refusal:
    refusal = errors.response_too_large(size_bytes, mb)
    tell(parts, refusal, route, address, grant.caller)
    return refusal


def tell(parts: "Parts", refusal: Refusal, route: str, address: str | None, caller: Caller | None) -> None:
    """An alert, at most one a minute for each kind and caller."""
    who = address or "unknown"
    if caller is not None and (caller.key_alias or caller.key_sha256):
        who = caller.key_alias or f"key {(caller.key_sha256 or '')[:12]}"
        who += "".join(
            f", {name} {value}" for name, value in (("team", caller.team_id), ("user", caller.user_id)) if value
        )
        who += f", from {address}" if address else ""
    parts.alerts.tell(refusal.code, who, f"{refusal.message}\nCaller: {who}\nRoute: {route}")

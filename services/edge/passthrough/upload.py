"""A request's body on its way to a target: counted, never kept."""

import asyncio
from collections.abc import AsyncIterator

from services.edge import size_checks
from services.edge.http import BrokenBodyError, OverBudgetError, Request
from services.edge.parts import Parts
from services.edge.passthrough.files import Files, MultipartError
from services.edge.reading import Head
from services.edge.sizes import MB
from shared import errors
from shared.errors import Refusal, RefusedError
from shared.grant import Grant


class Upload:
    def __init__(self, parts: Parts, request: Request, grant: Grant | None, route: str, head: Head) -> None:
        limits = [mb for mb in (parts.sizes.request_mb, None if grant is None else grant.max_request_size_mb) if mb]
        self._mb = min(limits, default=None)
        self._parts = parts
        self._request = request
        self._grant = grant
        self._route = route
        self._head = head
        self._size = 0
        self.refusal: Refusal | None = None
        """Why it was cut off."""
        self.has_body = bool(request.content_length) or request.header("transfer-encoding") is not None
        self._files = self._looked_at()
        declared = request.content_length
        if self._mb is not None and declared is not None and declared > self._mb * MB:
            raise RefusedError(self._too_large(declared))

    async def whole(self) -> bytes | None:
        """All of a body that may name a model. Raises RefusedError."""
        if not self.has_body:
            return None
        pieces: list[bytes] = []
        bytes_max = self._parts.settings.edge_body_bytes_max
        try:
            async for chunk in self.chunks():
                if not self._request.hold(len(chunk)):
                    raise RefusedError(errors.overloaded())
                pieces.append(chunk)
                if self._size > bytes_max:
                    raise RefusedError(errors.body_too_large(None, bytes_max))
        except _CutError:
            assert self.refusal is not None
            raise RefusedError(self.refusal) from None
        return b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises _CutError, with `refusal` set, where it may not go on."""
        request, timeout_s = self._request, self._parts.settings.edge_body_timeout_ms / 1000
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    chunk = await request.next_chunk()
            except TimeoutError:
                self.refusal = errors.unreadable_body("The request body did not arrive in time")
            except OverBudgetError:
                self.refusal = errors.overloaded()
            except BrokenBodyError:
                self.refusal = errors.unreadable_body("The request body could not be read")
            if self.refusal is None:
                if not chunk:
                    return
                self._size += len(chunk)
                if self._mb is not None and self._size > self._mb * MB:
                    self.refusal = self._too_large(self._size)
                elif self._files is not None:
                    self.refusal = self._files_refusal(chunk)
            if self.refusal is not None:
                raise _CutError
            yield chunk

    def _looked_at(self) -> Files | None:
        """Of a form with files, where files have limits. Raises RefusedError."""
        kind = self._request.header("content-type") or ""
        limits = self._parts.sizes
        if not (limits.limits_files and kind.strip().lower().startswith("multipart/form-data")):
            return None
        if self._request.header("content-encoding") is not None:
            raise RefusedError(errors.bad_request("A form with files can't be compressed here: its files have limits"))
        try:
            return Files(kind, limits.file_refusal)
        except MultipartError:
            raise RefusedError(errors.bad_request("multipart/form-data needs a boundary", "content-type")) from None

    def _files_refusal(self, chunk: bytes) -> Refusal | None:
        assert self._files is not None
        try:
            refusal = self._files.feed(chunk)
        except MultipartError as error:
            return errors.bad_request(f"The form can't be read: {error}")
        return None if refusal is None else self._told(refusal)

    def _too_large(self, size_bytes: int) -> Refusal:
        assert self._mb is not None
        return self._told(errors.request_too_large(size_bytes, self._mb))

    def _told(self, refusal: Refusal) -> Refusal:
        caller = None if self._grant is None else self._grant.caller
        size_checks.tell(self._parts, refusal, self._route, self._head.ip, caller)
        return refusal


class _CutError(Exception):
    """The upload ends here: `refusal` says why."""

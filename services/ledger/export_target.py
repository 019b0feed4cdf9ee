"""Where exports go: a folder, or a bucket. What appears under a name is whole."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from shared.on_disk import synced

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")


class TargetError(Exception):
    """It can't be written to, or read; the message says what and why."""


class Draft:
    """A file without a name, to be written before it is put: whoever is killed meanwhile leaves
    nothing behind.
    """

    def __init__(self, workspace: str | None) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=workspace)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def whole(self) -> str:
        """A path by which it can be read from its beginning, in this process."""
        self.file.flush()
        self.file.seek(0)
        return f"/dev/fd/{self.file.fileno()}"


class Target(Protocol):
    def draft(self) -> Draft: ...

    async def get(self, path: str) -> bytes | None:
        """None: it isn't there. Raises TargetError."""
        ...

    async def put(self, path: str, data: bytes) -> None: ...

    async def put_file(self, path: str, source: str) -> None: ...


class Folder:
    def __init__(self, root: str) -> None:
        self._root = Path(root)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"{root}: {error.strerror}") from None

    def draft(self) -> Draft:
        return Draft(str(self._root))

    async def get(self, path: str) -> bytes | None:
        try:
            return await asyncio.to_thread((self._root / path).read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetError(f"{path}: {error.strerror}") from None

    async def put(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, path, data, None)

    async def put_file(self, path: str, source: str) -> None:
        await asyncio.to_thread(self._put, path, None, source)

    def _put(self, path: str, data: bytes | None, source: str | None) -> None:
        """Written beside its name, synced, and then renamed."""
        final = self._root / path
        partial = final.with_name(f".{final.name}.partial")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                if data is not None:
                    file.write(data)
                else:
                    assert source is not None
                    with Path(source).open("rb") as whole:
                        shutil.copyfileobj(whole, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(final)
            synced(final.parent)
        except OSError as error:
            raise TargetError(f"{path}: {error.strerror}") from None


class Bucket:
    """S3, Google Cloud Storage or Azure Blob, by obstore: an object is there when its upload is
    complete.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def draft(self) -> Draft:
        return Draft(None)

    async def get(self, path: str) -> bytes | None:
        import obstore  # noqa: PLC0415

        try:
            answer = await obstore.get_async(self._store, path)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _told(path, error) from None

    async def put(self, path: str, data: bytes) -> None:
        import obstore  # noqa: PLC0415

        try:
            await obstore.put_async(self._store, path, data)
        except Exception as error:
            raise _told(path, error) from None

    async def put_file(self, path: str, source: str) -> None:
        import obstore  # noqa: PLC0415

        try:
            await obstore.put_async(self._store, path, Path(source))
        except Exception as error:
            raise _told(path, error) from None


def _told(path: str, error: Exception) -> TargetError:
    """obstore's errors name the request; the first line is for people."""
    return TargetError(f"{path}: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")


def open_target(where: str, environ: Mapping[str, str], **options: Any) -> Target:
    """Raises TargetError. A bucket's credentials come from the environment, as its own tools take
    them.
    """
    scheme, mark, _ = where.partition("://")
    if not mark:
        return Folder(where)
    if scheme == "file":
        return Folder(where.removeprefix("file://"))
    if scheme not in SCHEMES:
        raise TargetError(f"{where[:80]!r}: a folder, or {', '.join(f'{name}://' for name in SCHEMES)}")
    import obstore.store  # noqa: PLC0415  (heavy, and for buckets only)

    if scheme == "s3" and environ.get("AWS_ENDPOINT_URL"):
        options.setdefault("endpoint", environ["AWS_ENDPOINT_URL"])
        if environ["AWS_ENDPOINT_URL"].startswith("http://"):
            options.setdefault("client_options", {"allow_http": True})
    try:
        return Bucket(obstore.store.from_url(where, **options))
    except Exception as error:
        raise _told(where, error) from None

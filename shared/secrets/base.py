"""What a secret manager is."""

from typing import Protocol

NAME_CHARACTERS_MAX = 512
VALUE_BYTES_MAX = 256 * 1024


class SecretError(Exception):
    """A manager can't say. `code`: unreachable, timeout, denied, junk, bad_name, not_supported.

    The message names the manager and the secret's name, never a value or a credential.
    """

    def __init__(self, code: str, manager: str, name: str = "", detail: str = "") -> None:
        super().__init__(
            f"{manager}: {code}" + (f" for {name[:120]!r}" if name else "") + (f" ({detail})" if detail else "")
        )
        self.code = code


class Manager(Protocol):
    """Somewhere secrets are kept. Stateless but for its own login; the cache is the resolver's."""

    name: str

    async def read(self, name: str) -> str | None:
        """The value; None where there is no such secret. Raises SecretError."""
        ...

    async def write(self, name: str, value: str) -> None:
        """Make or change it. Raises SecretError, with `not_supported` where the manager only
        reads.
        """
        ...

    async def delete(self, name: str) -> None:
        """What isn't there is deleted. Raises SecretError."""
        ...

    async def close(self) -> None: ...


class ReadOnly:
    """For managers that only read."""

    name = ""

    async def write(self, name: str, value: str) -> None:
        raise SecretError("not_supported", self.name, name)

    async def delete(self, name: str) -> None:
        raise SecretError("not_supported", self.name, name)

    async def close(self) -> None:
        return None


def check_name(manager: str, name: str) -> str:
    """A name goes into an address or a path: nothing in it may lead elsewhere. Raises
    SecretError.
    """
    parts = name.replace("\\", "/").split("/")
    if (
        not name
        or len(name) > NAME_CHARACTERS_MAX
        or not name.isprintable()
        or ".." in parts
        or "." in parts
        or "%" in name
    ):
        raise SecretError("bad_name", manager, name)
    return name

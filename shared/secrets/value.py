"""A value that nobody can print by accident."""

import hmac


class Secret:
    """A value that is never shown: not by repr, str, logging or an encoder."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(other._value.encode(), self._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


class SecretDocument(Secret):
    """One that may also be written as a mapping: then it is its JSON."""

    __slots__ = ()

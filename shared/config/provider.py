"""The row that the tables of providers are made of."""

from msgspec import Struct

OPENAI_WIRE = "openai"


class Provider(Struct, frozen=True):
    """What can be known of a provider before anybody configured it."""

    wire: str
    """`openai`: speaks OpenAI's format itself, byte for byte. Others name their own format."""
    api_base: str = ""
    """Used where an entry has no `api_base`, with the variables in braces; empty: there is no
    address that is right for everybody.
    """
    key_variables: tuple[str, ...] = ()
    """Used in this order where an entry has no `api_key`."""
    base_variables: tuple[str, ...] = ()
    """Used in this order where an entry has no `api_base`; they go before our own default."""
    needs_key: bool = True
    """False: a server of one's own, which may well ask for no key, or one with credentials of
    another kind.
    """
    openai_path: str | None = None
    """Where, under its own address, a provider with a format of its own also answers in OpenAI's:
    used while the edge doesn't speak the provider's own. None: nowhere."""
    why_not: str = ""
    """Why none of its models is served; empty: its wire says it."""


def speaks_openai(api_base: str, *key_variables: str, base: tuple[str, ...] = (), needs_key: bool = True) -> Provider:
    return Provider(OPENAI_WIRE, api_base, key_variables, base, needs_key)


def not_served(why: str) -> Provider:
    return Provider("none", needs_key=False, why_not=why)

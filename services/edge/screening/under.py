"""The names that values stand under in objects of a caller's own: `{"password": "x"}` says what x
is. Pure.

Names of the wire (`content`, `text`) say nothing, and aren't told.
"""

from collections.abc import Sequence

from services.edge.content.names import INNER
from services.edge.content.replace import RENAME
from services.edge.formats.base import Address, Text

SAID = frozenset({"messages", "prompt", "input", "system", "instructions", "choices", "output", "content"})
"""Below these people, models and tools speak. Elsewhere credentials may be meant for who gets them:
a tool server's token, a header.
"""
NAME_CHARACTERS_MAX = 120
_PAIRS = ("name", "key", "Name", "Key", "field", "variable")


def names_of(texts: Sequence[Text]) -> list[str]:
    """Of each text its name, inner objects' names before it (`okta.token`); "" where there is none.
    Empty: none has one.
    """
    names = [_name(text.address) for text in texts]
    if not any(names):
        return []
    at = {text.address: text.text for text in texts if text.address and text.address[-1] in _PAIRS}
    for i, text in enumerate(texts):
        if names[i].rpartition(".")[2] in ("value", "Value"):
            pair = next((at[found] for n in _PAIRS if (found := (*text.address[:-1], n)) in at), None)
            if pair is not None:
                names[i] = pair[:NAME_CHARACTERS_MAX]
    return names


def _name(address: Address) -> str:
    if len(address) < 2 or address[0] not in SAID or address[-1] == RENAME or address[-1] in INNER:
        return ""
    steps: list[str] = []
    for step in reversed(address[1:]):
        if isinstance(step, int):
            continue
        if step in INNER:
            break
        steps.append(step)
    return ".".join(reversed(steps))[-NAME_CHARACTERS_MAX:]

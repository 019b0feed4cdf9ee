"""Which deployments a request's tags lead to (`enable_tag_filtering`). Pure.

As in LiteLLM: a deployment with one of the request's tags; where none has one, those with the tag
`default`; where there is no such, nobody. A request without tags goes to `default` too, and where
no deployment has that tag, to any.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

DEFAULT: Final = "default"
Candidate = TypeVar("Candidate")


def filtered(
    candidates: Sequence[Candidate], tags: Sequence[str], tags_of: Callable[[Candidate], Sequence[str]]
) -> list[Candidate]:
    wanted = set(tags)
    found = [each for each in candidates if not wanted.isdisjoint(tags_of(each))]
    if found:
        return found
    default = [each for each in candidates if DEFAULT in tags_of(each)]
    return default if default or wanted else list(candidates)

"""A call's way through the candidates: which is asked first, and which step follows a failure.
Pure.

A *group* is one model name's deployments in the order to try; the first group is what the client
asked for, the others are fallbacks to other model names. In LiteLLM's words: retries stay in a
group, fallbacks leave it.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from services.edge.routing.causes import CAUSES
from services.edge.routing.health import Random
from shared.grant import Candidate
from shared.ids import DeploymentId

DEFAULT_RETRIES: Final = 2
"""Where nobody set `num_retries`: other deployments, and connections that never came about."""
FALLBACKS_MAX: Final = 5
BACKOFF_S: Final = 0.25
BACKOFF_S_MAX: Final = 8.0
WAIT_S_MAX: Final = 60.0
"""Whoever asks us to come back later than this is not waited for: the client learns it."""


class Rules(msgspec.Struct, frozen=True):
    """What settings and the request allow for one call."""

    retries: int | None = None
    """Attempts in a group beyond the first; None: nobody said."""
    unsafe: bool = False
    """Work that may have been done may be done again."""
    wait_s: float = 0.0
    """At least so long before the same deployment is asked again (`retry_after`)."""
    fallbacks: bool = True
    by_cause: dict[str, int] = {}
    """Retries of some causes (`retry_policy`): they go before `retries`."""

    def retries_of(self, cause: str) -> int | None:
        return self.by_cause.get(cause, self.retries)


class Group(msgspec.Struct, frozen=True):
    model: str
    candidates: list[Candidate]
    reason: str = ""
    """What it is a fallback for: `context_window`, `content_policy`, or any failure (empty)."""


class Step(msgspec.Struct, frozen=True):
    """One attempt."""

    group: int
    position: int
    """In the group's candidates."""
    number: int = 1
    """Of the attempts in this group, from 1."""
    wait_s: float = 0.0


class Failed(msgspec.Struct, frozen=True):
    """How a step failed."""

    cause: str
    """Of routing/causes.py."""
    kind: str = ""
    """`context_window`, `content_policy`."""
    retry_after_s: float | None = None


def first(groups: list[Group], resting: Callable[[DeploymentId], bool]) -> Step:
    """The step to begin with: a group whose deployments all rest is passed over if another follows
    that doesn't.
    """
    for index, group in enumerate(groups[: FALLBACKS_MAX + 1]):
        if group.reason == "" and group.candidates and not all(resting(c.deployment_id) for c in group.candidates):
            return Step(index, 0)
    return FIRST


FIRST: Final = Step(0, 0)


def after(
    step: Step,
    failed: Failed,
    groups: list[Group],
    rules: Rules,
    *,
    resting: Callable[[DeploymentId], bool],
    may_retry: Callable[[], bool],
    left_s: float,
    random: Random,
) -> Step | None:
    """The step after this one failed; None: its failure is the call's.

    Args:
        resting: whether a deployment cools down.
        may_retry: takes one attempt out of the retry budget; asked only where an attempt would be
            made.
        left_s: of the call's one deadline.
    """
    cause = CAUSES[failed.cause]
    if left_s <= 0 or (cause.unsafe and not rules.unsafe):
        return None
    if failed.kind:
        return _fallback(step, failed.kind, groups, rules, resting)
    following = _retry(step, failed, groups[step.group], rules, resting, left_s, random)
    if following is not None and may_retry():
        return following
    return _fallback(step, "", groups, rules, resting) if cause.elsewhere else None


def _retry(
    step: Step,
    failed: Failed,
    group: Group,
    rules: Rules,
    resting: Callable[[DeploymentId], bool],
    left_s: float,
    random: Random,
) -> Step | None:
    cause, candidates = CAUSES[failed.cause], group.candidates
    retries = rules.retries_of(failed.cause)
    if step.number > (DEFAULT_RETRIES if retries is None else retries):
        return None
    number = step.number + 1
    awake = [p for p in range(len(candidates)) if not resting(candidates[p].deployment_id)]
    if cause.elsewhere:
        following = [p for p in awake if p > step.position]
        if not awake and step.position + 1 < len(candidates):
            following = [step.position + 1]  # all of them rest: whoever wasn't asked yet is the last hope
        if following:
            return Step(step.group, following[0], number)
    nothing_sent = cause.again and not cause.billed and failed.cause in ("connect", "tls", "no_connection")
    if not cause.again or (retries is None and not (nothing_sent and len(candidates) == 1)):
        return None
    wait_s = backoff_s(step.number, random)
    if not nothing_sent:
        wait_s = max(wait_s, rules.wait_s, failed.retry_after_s or 0.0)
    if wait_s > min(WAIT_S_MAX, left_s):
        return None
    return Step(step.group, awake[0] if awake else step.position, number, wait_s)


def _fallback(
    step: Step, reason: str, groups: list[Group], rules: Rules, resting: Callable[[DeploymentId], bool]
) -> Step | None:
    if not rules.fallbacks:
        return None
    usable = [
        index
        for index in range(step.group + 1, min(len(groups), FALLBACKS_MAX + 1))
        if groups[index].reason in (reason, "") and groups[index].candidates
    ]
    special = [index for index in usable if groups[index].reason == reason]
    for chosen in (special, usable):
        for index in chosen:
            if any(not resting(candidate.deployment_id) for candidate in groups[index].candidates):
                return Step(index, 0)
    return Step(usable[0], 0) if usable else None


def backoff_s(number: int, random: Random) -> float:
    """Exponential, with full jitter (and never nothing): after the first attempt up to
    BACKOFF_S.
    """
    most: float = min(BACKOFF_S_MAX, BACKOFF_S * 2.0 ** (number - 1))
    return most * (0.25 + 0.75 * random())

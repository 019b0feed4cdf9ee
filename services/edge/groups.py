"""Who can be asked: what a grant names and this edge can call, in the order to try."""

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from services.edge.asked import Asked
from services.edge.formats.base import Call
from services.edge.parts import Parts
from services.edge.providers.base import Target
from services.edge.reading import Head
from services.edge.routing import request as asked_for
from services.edge.routing import strategies, tags
from services.edge.routing.plan import Group
from services.edge.routing.way import Way
from shared import errors
from shared.config import Deployment
from shared.errors import Refusal, RefusedError
from shared.grant import Candidate, Fallback, Permit

log = structlog.get_logger()

BYTES_PER_TOKEN_MAX: Final = 6
"""Prompts have four to five: what exceeds a window by this measure exceeds it."""
TARGETS_MAX: Final = 20_000
"""With what is known under more than one id."""


def way_of(parts: Parts, asked: Asked) -> Way:
    """Where the call goes. Kept with the decision where only that, the settings and the targets say
    so.

    Raises RefusedError where there is nobody to ask, or where what is asked of routing makes no
    sense.
    """
    prepared, settings, targets = asked.prepared, parts.routing, parts.targets
    is_usual = asked.permit is prepared.permit
    way = prepared.way if is_usual else None
    if way is not None and way.settings is settings and targets.get(way.target_id) is way.target:
        return way
    way = way_through(parts, asked.call, asked.head, groups_of(parts, asked))
    if is_usual and _is_alone(parts, asked):
        prepared.way = way
    return way


def way_through(parts: Parts, call: Call, head: Head, groups: list[Group], *, is_json: bool = True) -> Way:
    """Raises RefusedError for what makes no sense of routing.

    Args:
        is_json: False: no field of the body is for us.
    """
    settings, target_id = parts.routing, groups[0].candidates[0].deployment_id
    target = parts.targets[target_id]
    usual = settings.rules_by_model.get(call.model, settings.rules)
    said = call if is_json else msgspec.structs.replace(call, fields={})
    rules = asked_for.rules(usual, said, head, target.deployment.retries)
    return Way(groups, rules, asked_for.deadline_ms(parts, call, head, groups), settings, target_id, target)


def _is_alone(parts: Parts, asked: Asked) -> bool:
    """Whether one candidate is all there is."""
    permit = asked.permit
    return len(permit.candidates) == 1 and not (permit.grant.fallbacks or asked.fallbacks or parts.routing.filter_tags)


def groups_of(parts: Parts, asked: Asked) -> list[Group]:
    """What the grant names and this edge can call, in the order to try. RefusedError where that is
    nobody.
    """
    permit, format = asked.permit, asked.format.name
    if _is_alone(parts, asked) and _is_callable(parts, permit.candidates[0], format):
        return [Group(asked.call.model, permit.candidates)]
    return chosen(
        parts,
        asked.call,
        permit,
        [*asked.fallbacks, *permit.grant.fallbacks],
        len(asked.call.body),
        lambda candidate: _is_callable(parts, candidate, format),
        lambda: _why_not(parts, asked),
    )


def chosen(
    parts: Parts,
    call: Call,
    permit: Permit,
    others: list[Fallback],
    text_bytes: int,
    is_callable: Callable[[Candidate], bool],
    why_not: Callable[[], Refusal],
) -> list[Group]:
    """The candidates that can be called, in the order to try. Raises RefusedError where there are
    none.

    Args:
        text_bytes: of what the model has to read.
        why_not: what is said then.
    """
    now = parts.clock.seconds()
    candidates = _fitting(parts, text_bytes, list(filter(is_callable, permit.candidates)), others)
    if parts.routing.filter_tags:
        candidates = tags.filtered(
            candidates, permit.tags, lambda c: (*parts.targets[c.deployment_id].deployment.params.tags, *c.tags)
        )
    if parts.routing.filter_tags and not candidates and permit.candidates and not others:
        raise RefusedError(errors.no_deployment_for_tags(call.model))
    if len(candidates) > 1:
        candidates = strategies.ordered(parts.routing.strategy, candidates, parts.health, now, parts.random)
    groups = [Group(call.model, candidates)] if candidates else []
    for fallback in others:
        usable = list(filter(is_callable, fallback.candidates))
        if usable:
            usable = strategies.ordered(parts.routing.strategy, usable, parts.health, now, parts.random)
            groups.append(Group(fallback.model, usable, fallback.reason))
    if not groups:
        raise RefusedError(why_not())
    return groups


def _fitting(parts: Parts, text_bytes: int, candidates: list[Candidate], others: list[Fallback]) -> list[Candidate]:
    """Without those whose context window the prompt surely exceeds; all of them where that is all,
    and nothing else is left.
    """
    if not parts.routing.check_windows:
        return candidates
    tokens = text_bytes // BYTES_PER_TOKEN_MAX
    fitting = [c for c in candidates if c.input_tokens_max is None or tokens <= c.input_tokens_max]
    return fitting if fitting or any(each.reason in ("context_window", "") for each in others) else candidates


def _is_callable(parts: Parts, candidate: Candidate, format: str) -> bool:
    target = target_of(parts, candidate)
    return target is not None and (format in target.provider.wires or format in target.provider.translators)


def target_of(parts: Parts, candidate: Candidate) -> Target | None:
    """None: this edge can't call it."""
    return parts.targets.get(candidate.deployment_id) or _alike(parts, candidate)


def _alike(parts: Parts, candidate: Candidate) -> Target | None:
    """Policy has read another version of the file than we have (a rollout, a reload): an entry's id
    is the digest of all it says.

    The one entry of ours with the same provider and model is what it asks for, and that id is known
    from now on. Of several nobody can say whose credential was meant.
    """
    if candidate.revision or candidate.deployment_id in parts.left_out or len(parts.targets) >= TARGETS_MAX:
        return None
    ours = {id(t): t for t in parts.targets.values() if _is_for(t.deployment, candidate)}
    if len(ours) != 1:
        return None
    (target,) = ours.values()
    parts.targets[candidate.deployment_id] = target
    parts.adopted.add(candidate.deployment_id)
    log.warning("entry_of_another_configuration", asked=candidate.deployment_id, taken=target.deployment.id)
    return target


def _is_for(deployment: Deployment, candidate: Candidate) -> bool:
    if deployment.provider != candidate.provider:
        return False
    before, star, after = deployment.upstream_model.partition("*")
    name = candidate.upstream_model
    return name.startswith(before) and name.endswith(after) if star else name == before


def _why_not(parts: Parts, asked: Asked) -> errors.Refusal:
    known = [c for c in asked.permit.candidates if c.deployment_id in parts.targets]
    if known:
        return errors.not_served(asked.call.model, f"{known[0].provider} has no {asked.route.name}")
    reasons = (parts.left_out.get(c.deployment_id) for c in asked.permit.candidates)
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is not None:
        return errors.model_left_out(asked.call.model, reason)
    return errors.no_deployment(asked.call.model)

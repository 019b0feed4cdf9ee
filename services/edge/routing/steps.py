"""From one attempt to the next: what plan.py decides, by what this edge knows of deployments."""

from functools import partial

import msgspec

from services.edge.parts import Parts
from services.edge.routing import plan
from services.edge.routing.plan import Failed, Step
from services.edge.routing.rooms import roomiest
from services.edge.routing.way import Way
from shared.ids import DeploymentId


def first(parts: Parts, way: Way) -> Step:
    return plan.first(way.groups, partial(_is_resting, parts))


def to_room(parts: Parts, way: Way, step: Step) -> Step:
    """To whoever has the most room, from this one on."""
    targets, candidates = parts.targets, way.groups[step.group].candidates

    def limit_of(deployment: DeploymentId) -> int | None:
        return targets[deployment].parallel_max

    best = roomiest(parts.rooms, candidates, step.position, limit_of, partial(_is_resting, parts))
    return step if best == step.position else msgspec.structs.replace(step, position=best)


def after(
    parts: Parts, way: Way, step: Step, failed: Failed, left_s: float, *, is_its_fault: bool = True
) -> Step | None:
    """What follows a step that failed, whose deployment may have to rest now; None: its failure is
    the call's.

    Args:
        left_s: of the call's one deadline.
        is_its_fault: False: it says nothing of the deployment's health.
    """
    now, id = parts.clock.seconds(), way.groups[step.group].candidates[step.position].deployment_id
    if is_its_fault:
        cooldown_s = parts.targets[id].deployment.cooldown_s
        rest_s = parts.health.failed(id, failed.cause, now, cooldown_s=cooldown_s, retry_after_s=failed.retry_after_s)
        if rest_s is not None:
            parts.tell_rest(id, rest_s)
    return plan.after(
        step,
        failed,
        way.groups,
        way.rules,
        resting=partial(_is_resting, parts),
        may_retry=lambda: parts.budget.take(now),
        left_s=left_s,
        random=parts.random,
    )


def _is_resting(parts: Parts, deployment: DeploymentId) -> bool:
    return parts.health.is_resting(deployment, parts.clock.seconds())

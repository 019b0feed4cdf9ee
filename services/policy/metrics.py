"""What policy counts. Label values come from closed sets only; children are made once, not per
question.
"""

from prometheus_client import Counter

from services.policy.commands import COMMANDS

_decisions = Counter("tollgate_policy_decisions_total", "Decisions by result", ["code"])
_commands = Counter("tollgate_policy_commands_total", "Management calls answered", ["route", "status"])
_unreadable = Counter("tollgate_policy_unreadable_facts_total", "Control facts that could not be folded")
_rotations = Counter("tollgate_policy_rotations_total", "Automatic rotations of keys by result", ["result"])

_decision_children: dict[str, Counter] = {}
_command_children: dict[tuple[str, int], Counter] = {}


def decided(code: str) -> None:
    """`granted`, the code of a refusal, or `behind`."""
    child = _decision_children.get(code)
    if child is None:
        child = _decision_children[code] = _decisions.labels(code)
    child.inc()


def commanded(route: str, status: int) -> None:
    key = (route if route in COMMANDS else "other", status)
    child = _command_children.get(key)
    if child is None:
        child = _command_children[key] = _commands.labels(key[0], str(status))
    child.inc()


def rotated(result: str) -> None:
    """`rotated`, `elsewhere` (another replica was faster), `not_delivered`, `refused`."""
    _rotations.labels(result).inc()


def unreadable() -> None:
    _unreadable.inc()

"""What one request asks of routing: retries, deadlines. Values that make no sense are a 400; what
they cost is bounded.
"""

from typing import Final

from services.edge.formats import fields as fields_
from services.edge.formats.base import Call
from services.edge.parts import Parts
from services.edge.reading import Head
from services.edge.routing.plan import FALLBACKS_MAX, Group, Rules

RETRIES_MAX: Final = 10
TIMEOUT_MS_MAX: Final = 24 * 3600 * 1000


def rules(usual: Rules, call: Call, head: Head, of_entry: int | None = None) -> Rules:
    """The settings, with what the entry and the request say for themselves. Raises RefusedError.

    Args:
        of_entry: retries that the deployment's own entry allows.
    """
    if call.plain and (of_entry is None or of_entry == usual.retries):
        return usual
    fields = call.fields
    retries, fallbacks = usual.retries if of_entry is None else of_entry, usual.fallbacks
    if "num_retries" in fields:
        asked = fields_.whole_number(fields, "num_retries")
        retries = retries if asked is None else _bounded(asked)
    elif head.num_retries is not None:
        retries = _bounded(_number(head.num_retries, "x-litellm-num-retries"))
    if fields_.says_true(fields, "disable_fallbacks"):
        fallbacks = False
    if retries == usual.retries and fallbacks == usual.fallbacks:
        return usual
    by_cause = usual.by_cause if retries == usual.retries else {}
    return Rules(retries, usual.unsafe, usual.wait_s, fallbacks, by_cause)


def deadline_ms(parts: Parts, call: Call, head: Head, groups: list[Group]) -> int:
    """For all attempts together: what the request says, else the settings, else the longest of the
    deployments' own.
    """
    if not call.plain:
        said_ms = _said_deadline_ms(call, head)
        if said_ms is not None:
            return said_ms
    if parts.routing.timeout_ms is not None:
        return parts.routing.timeout_ms
    targets, most = parts.targets, 0
    for group in groups:
        for candidate in group.candidates:
            timeout_ms = targets[candidate.deployment_id].deployment.timeout_ms
            if timeout_ms > most:
                most = timeout_ms
    return most


def _said_deadline_ms(call: Call, head: Head) -> int | None:
    fields = call.fields
    named = ("stream_timeout", "timeout") if call.stream else ("timeout",)
    for name in named:
        if name in fields:
            seconds = fields_.read(fields, name)
            if seconds is not None:
                return _milliseconds(seconds, name)
    header = head.stream_timeout if call.stream and head.stream_timeout is not None else head.timeout
    if header is not None:
        return _milliseconds(_number(header, "x-litellm-timeout"), "x-litellm-timeout")
    return None


def fallbacks(call: Call) -> list[str]:
    """Other models the request names, in LiteLLM's spellings: names, or objects with a `model`.
    Raises RefusedError.
    """
    names = []
    for place, each in enumerate(fields_.read(call.fields, "fallbacks") or []):
        name = each.get("model") if isinstance(each, dict) else each
        if not isinstance(name, str) or (isinstance(each, dict) and set(each) != {"model"}):
            raise fields_.bad(f"fallbacks[{place}] must be the name of a model", f"fallbacks[{place}]")
        fields_.check_model(name)
        names.append(name)
    if len(names) > FALLBACKS_MAX:
        raise fields_.bad(f"At most {FALLBACKS_MAX} fallbacks are allowed", "fallbacks")
    return list(dict.fromkeys(names))


def _bounded(retries: float) -> int:
    return int(max(0, min(retries, RETRIES_MAX)))


def _number(text: str, name: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e12:
        raise fields_.bad(f"{name} must be a number of zero or more", name)
    return found


def _milliseconds(seconds: float, name: str) -> int:
    if not 0 < seconds < 1e12:
        raise fields_.bad(f"{name} must be a number of seconds above zero", name)
    return max(1, min(int(seconds * 1000), TIMEOUT_MS_MAX))

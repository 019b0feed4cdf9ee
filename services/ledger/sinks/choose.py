"""Which sinks there are, and whose calls each of them gets. Pure.

A key's own sinks go before its team's, a team's before the configuration's; they aren't merged (contract §10). Sinks of keys and teams are
in their `metadata.logging`; those of teams in `litellm_settings.default_team_settings` too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shared.entities import callbacks

KINDS = {
    "langfuse": "langfuse", "langfuse_otel": "langfuse", "otel": "otel", "opentelemetry": "otel", "generic_api": "webhook",
    "webhook": "webhook", "custom_callback_api": "webhook", "s3": "bucket", "s3_v2": "bucket", "gcs_bucket": "bucket",
    "azure_storage": "bucket",
}  # fmt: skip
"""LiteLLM's name of a callback → how it is sent."""

ON = {"success": (True, False), "failure": (False, True), "success_and_failure": (True, True)}
"""callback_type → (gets successes, gets failures)."""


class Sink(NamedTuple):
    id: str
    """Of its position: the same as long as it is the same sink."""
    name: str
    """LiteLLM's."""
    scope: str
    """config, team or key."""
    owner: str
    """The team's id, the key's digest; empty: the configuration's."""
    successes: bool
    failures: bool
    variables: tuple[tuple[str, str], ...]
    """LiteLLM's `callback_vars`."""
    from_file: bool = True
    """Whether the operator's file says so, and not a key or a team."""
    sealed_as: str = ""
    """What its secrets are sealed as; empty: its name."""


class Chosen(NamedTuple):
    sinks: list[Sink]
    keys: frozenset[str]
    """Those with sinks of their own."""
    teams: frozenset[str]


def of_entity(scope: str, owner: str, metadata: Any) -> list[Sink]:
    """Of a key's or a team's metadata. What can't be read is left out: it gets nothing, instead of everything."""
    found: list[Sink] = []
    for entry, sealed_as in _entries(metadata):
        name = entry.get("callback_name")
        on = ON.get(str(entry.get("callback_type") or "success_and_failure"))
        variables = entry.get("callback_vars") or {}
        if not isinstance(name, str) or name not in KINDS or on is None or not isinstance(variables, Mapping):
            continue
        plain = {str(key): value for key, value in variables.items() if isinstance(value, str)}
        sink_id = f"{scope}:{owner}:{name}:{'+'.join(_OUTCOMES[on])}"
        same = sum(sink.id.partition("#")[0] == sink_id for sink in found)
        found.append(
            Sink(f"{sink_id}#{same}" if same else sink_id, name, scope, owner, *on, _sorted(plain), False, sealed_as)
        )
    return found


_OUTCOMES = {(True, False): ("success",), (False, True): ("failure",), (True, True): ("success", "failure")}


def _entries(metadata: Any) -> list[tuple[Mapping[str, Any], str]]:
    """(an entry of `logging`, what its variables are sealed as). A team's `callback_settings`, LiteLLM's first form, where it has no other."""
    if not isinstance(metadata, Mapping):
        return []
    logging, old = metadata.get("logging"), metadata.get(callbacks.OLD)
    if isinstance(logging, list):
        return [(entry, "") for entry in logging if isinstance(entry, Mapping)]
    if not isinstance(old, Mapping):
        return []
    return [
        ({"callback_name": name, "callback_type": on, "callback_vars": old.get("callback_vars")}, callbacks.OLD)
        for on in ("success", "failure")
        for name in _names(old.get(f"{on}_callback"))
    ]


def of_config(settings: Mapping[str, Any]) -> list[Sink]:
    """`success_callback`, `failure_callback`, `callbacks`, and `default_team_settings`, of litellm_settings as written."""
    on: dict[str, list[bool]] = {}
    for key, (success, failure) in {
        "success_callback": (True, False), "failure_callback": (False, True), "callbacks": (True, True),
    }.items():  # fmt: skip
        for name in _names(settings.get(key)):
            if name in KINDS:
                entry = on.setdefault(name, [False, False])
                on[name] = [entry[0] or success, entry[1] or failure]
    params = settings.get("s3_callback_params")
    variables = (
        {str(name): str(value) for name, value in params.items() if value is not None}
        if isinstance(params, Mapping)
        else {}
    )
    found = [
        Sink(f"config::{name}", name, "config", "", both[0], both[1], _sorted(variables)) for name, both in on.items()
    ]
    for team in settings.get("default_team_settings") or []:
        if isinstance(team, Mapping) and isinstance(team.get("team_id"), str):
            plain = {str(name): value for name, value in team.items() if isinstance(value, str)}
            for key, both in (("success_callback", (True, False)), ("failure_callback", (False, True))):
                found += [
                    Sink(f"team:{team['team_id']}:{name}:{key}", name, "team", team["team_id"], *both, _sorted(plain))
                    for name in _names(team.get(key))
                    if name in KINDS
                ]
    return found


def choose(config: Iterable[Sink], entities: Iterable[Sink]) -> Chosen:
    """A team's own word goes before what the file says of it."""
    own = list(entities)
    told = {sink.owner for sink in own if sink.scope == "team"}
    sinks = [*own, *(sink for sink in config if sink.scope != "team" or sink.owner not in told)]
    return Chosen(
        sinks,
        frozenset(sink.owner for sink in sinks if sink.scope == "key"),
        frozenset(sink.owner for sink in sinks if sink.scope == "team"),
    )


def gets(sink: Sink, row: Mapping[str, Any], chosen: Chosen) -> bool:
    """Whether this sink is told of this call."""
    if row["outcome"] == "refused" or not (sink.successes if row["outcome"] == "success" else sink.failures):
        return False
    off = row["log_off"] or ()
    if "*" in off or sink.name in off:
        return False
    if sink.scope == "key":
        return bool(row["key_sha256"] == sink.owner)
    if row["key_sha256"] in chosen.keys:
        return False
    if sink.scope == "team":
        return bool(row["team_id"] == sink.owner)
    return row["team_id"] not in chosen.teams


def _sorted(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(variables.items()))


def _names(value: Any) -> list[str]:
    return (
        [value]
        if isinstance(value, str)
        else [name for name in value if isinstance(name, str)]
        if isinstance(value, list)
        else []
    )

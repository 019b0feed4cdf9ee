"""Which sinks there are, and whose calls each of them gets. Pure.

A key's own sinks go before its team's, a team's before the configuration's; they aren't merged.
Sinks of keys and teams are in their `metadata.logging`; those of teams in
`litellm_settings.default_team_settings` too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.config import hooks
from shared.config.callbacks import NOTHING_SAID, CallbackSettings
from shared.entities import callbacks

KINDS = {
    "langfuse": "langfuse", "langfuse_otel": "langfuse", "otel": "otel", "opentelemetry": "otel", "generic_api": "webhook",
    "webhook": "webhook", "custom_callback_api": "webhook", "s3": "bucket", "s3_v2": "bucket", "gcs_bucket": "bucket",
    "azure_storage": "bucket", "arize_phoenix": "phoenix", "logfire": "logfire", "mlflow": "mlflow", "langsmith": "langsmith",
    "datadog": "datadog",
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
    content: bool = False
    """Whether it gets prompts and answers."""


class Chosen(NamedTuple):
    sinks: list[Sink]
    keys: frozenset[str]
    """Those with sinks of their own."""
    teams: frozenset[str]


def _is_told(name: str, directory: str) -> bool:
    """Python of the operator's own."""
    return not hooks.why_not(name, directory) and hooks.tells(name, directory)


def says(metadata: Any) -> bool:
    """Whether a key's or a team's metadata says where its calls go, be it nowhere."""
    return isinstance(metadata, Mapping) and callbacks.entries(metadata) is not None


def of_entity(scope: str, owner: str, metadata: Any, *, turned_off: bool = False) -> list[Sink]:
    """Of a key's or a team's metadata. What can't be read is left out: it gets nothing, instead of
    everything.

    Args:
        turned_off: whether sinks get no prompts where their entry doesn't say.
    """
    found: list[Sink] = []
    for entry in (callbacks.entries(metadata) or []) if isinstance(metadata, Mapping) else []:
        name = entry.get("callback_name")
        on = ON.get(str(entry.get("callback_type") or "success_and_failure"))
        variables = entry.get("callback_vars") or {}
        if not isinstance(name, str) or name not in KINDS or on is None or not isinstance(variables, Mapping):
            continue
        plain = {str(key): value for key, value in variables.items() if isinstance(value, str)}
        sink_id = f"{scope}:{owner}:{name}:{'+'.join(_OUTCOMES[on])}"
        same = sum(sink.id.partition("#")[0] == sink_id for sink in found)
        found.append(
            Sink(
                f"{sink_id}#{same}" if same else sink_id,
                name,
                scope,
                owner,
                *on,
                _sorted(plain),
                False,
                str(entry.get("sealed_as") or ""),
                callbacks.shows_content(entry, turned_off=turned_off),
            )
        )
    return found


_OUTCOMES = {(True, False): ("success",), (False, True): ("failure",), (True, True): ("success", "failure")}


DEFAULT_TAGS = "langfuse_default_tags"
"""Names of metadata whose values Langfuse gets as tags too."""
DIRECTORY = "directory"
"""Where the configuration lies: Python of the operator's own is beside it."""


def of_config(
    settings: Mapping[str, Any], directory: str = ".", said: Mapping[str, CallbackSettings] | None = None
) -> list[Sink]:
    """`success_callback`, `failure_callback`, `callbacks`, and `default_team_settings`, of
    litellm_settings as written.

    Args:
        said: `callback_settings`.
    """
    said = said or {}
    own = {name: each for name, each in said.items() if each.endpoint}
    on: dict[str, list[bool]] = {}
    for key, (success, failure) in {
        "success_callback": (True, False), "failure_callback": (False, True), "callbacks": (True, True),
    }.items():  # fmt: skip
        for name in callbacks.names(settings.get(key)):
            if name in KINDS or name in own or _is_told(name, directory):
                entry = on.setdefault(name, [False, False])
                on[name] = [entry[0] or success, entry[1] or failure]
    params = settings.get("s3_callback_params")
    bucket = (
        {str(name): str(value) for name, value in params.items() if value is not None}
        if isinstance(params, Mapping)
        else {}
    )
    shown = settings.get(DEFAULT_TAGS)
    names = ",".join(map(str, shown)) if isinstance(shown, list) else ""
    said_of, beside = {"bucket": bucket, "langfuse": {DEFAULT_TAGS: names} if names else {}}, {DIRECTORY: directory}
    shows = not settings.get("turn_off_message_logging")
    found = []
    for name, (successes, failures) in on.items():
        variables = _address(own[name]) if name in own else said_of.get(KINDS[name], {}) if name in KINDS else beside
        content = shows and said.get(name, NOTHING_SAID).shows_content
        kind = "generic_api" if name in own else name
        found.append(
            Sink(f"config::{name}", kind, "config", "", successes, failures, _sorted(variables), content=content)
        )
    for team in settings.get("default_team_settings") or []:
        if isinstance(team, Mapping) and isinstance(team.get("team_id"), str):
            plain = {str(name): value for name, value in team.items() if isinstance(value, str)}
            for key, both in (("success_callback", (True, False)), ("failure_callback", (False, True))):
                found += [
                    Sink(
                        f"team:{team['team_id']}:{name}:{key}",
                        name,
                        "team",
                        team["team_id"],
                        *both,
                        _sorted(plain),
                        content=callbacks.shows_content({"callback_vars": team}, turned_off=not shows),
                    )
                    for name in callbacks.names(team.get(key))
                    if name in KINDS
                ]
    return found


def _address(said: CallbackSettings) -> dict[str, str]:
    """As `generic_api` has it in the environment."""
    headers = ",".join(f"{name}={value.reveal()}" for name, value in said.headers.items())
    return {"generic_logger_endpoint": said.endpoint or "", "generic_logger_headers": headers}


def choose(config: Iterable[Sink], entities: Mapping[tuple[str, str], Sequence[Sink]]) -> Chosen:
    """A team's own word goes before what the file says of it.

    Args:
        entities: (scope, owner) → its sinks; none: its calls are sent nowhere.
    """
    own = [sink for found in entities.values() for sink in found]
    keys, teams = (frozenset(owner for scope, owner in entities if scope == wanted) for wanted in ("key", "team"))
    sinks = [*own, *(sink for sink in config if sink.scope != "team" or sink.owner not in teams)]
    return Chosen(sinks, keys, teams | {sink.owner for sink in sinks if sink.scope == "team"})


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

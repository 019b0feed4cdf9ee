"""What people write in another place, by another name or in another shape than LiteLLM reads it,
where it can mean one thing only: it is done, and named. LiteLLM ignores most of it, so a file may
hold such keys for years. Pure.

What opens something is read only where it belongs (`ONLY_THERE`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.config.errors import ConfigError
from shared.config.fields import Known, Reading, convert, known
from shared.config.prices import is_price
from shared.config.references import Unset
from shared.config.schema import EntryInfo, EntryParams, GeneralSettings, LitellmSettings, RouterSettings
from shared.config.without_effect import SECTIONS

Tree = dict[str, Any]

TABLES: dict[str, type[msgspec.Struct]] = {
    "litellm_settings": LitellmSettings,
    "router_settings": RouterSettings,
    "general_settings": GeneralSettings,
}
"""In the order in which a key that several sections have is looked for."""

ONLY_THERE = frozenset(
    {
        "allow_open_gateway", "dangerously_permit_weak_or_unset_master_key", "allow_unenforced", "allow_any_audience", "public_routes",
        "use_x_forwarded_for", "trust_stored_models", "require_auth_for_metrics_endpoint", "custom_auth", "custom_auth_settings",
        "role_permissions", "litellm_jwtauth", "enable_jwt_auth", "pass_through_endpoints", "ssl_verify", "public_model_groups",
        "default_internal_user_params", "forward_client_headers_to_llm_api",
    }
)  # fmt: skip

ALIASES = {
    "verbose": "set_verbose", "debug": "set_verbose", "detailed_debug": "set_verbose", "debug_level": "log_level",
    "default_fallback_models": "default_fallbacks", "poll_interval": "polling_interval", "model_alias": "model_group_alias",
    "drop_unsupported_params": "drop_params", "enable_pre_call_check": "enable_pre_call_checks", "logging.level": "log_level",
    "model_alias_map": "model_group_alias",
}  # fmt: skip
"""Names that LiteLLM doesn't know, or has twice, and the key they mean; with its section, a name
means it only there.
"""

OF_ENTRY = {"rpm_limit": "rpm", "tpm_limit": "tpm"}
"""The same in `litellm_params`."""

OF_INFO = {"context_window": "max_input_tokens"}
"""What people write into `litellm_params`, and what it is in `model_info`; `supports_...` keeps its
name.
"""


OPENS = frozenset({"access_groups"})
"""Of `model_info`, read only where it belongs."""

SHOWN = frozenset({"description", "display_name", "notes", "comment"})
"""What people say of an entry beside its `model_name`: shown in /model/info."""


def take_over(trees: Mapping[str, Tree], reading: Reading, said_elsewhere: Mapping[str, Any] | None = None) -> None:
    """Moves what stands in the wrong section, or in none, into the right one, unless that says it
    itself.

    Args:
        trees: section -> its keys, references resolved; changed. Without a name: what is in no
            section.
        said_elsewhere: what the environment says, by key: a forgotten one of the file doesn't go
            before that.
    """
    fields = {name: known(kind) for name, kind in TABLES.items()}
    for section, tree in trees.items():
        for key in list(tree):
            name = ALIASES.get(f"{section}.{key}") or ALIASES.get(str(key), str(key))
            own = fields.get(section, {})
            home = section if name in own else _home(name, fields)
            if str(key) in own or home is None or name in ONLY_THERE:
                continue
            if name in trees[home]:
                if tree[key] == trees[home][name]:
                    del tree[key]
                    reading.say(f"{section}.{key}" if section else str(key), "acts", f"{home}.{name} says it too")
                continue
            if said_elsewhere and name in said_elsewhere:
                if tree[key] == said_elsewhere[name]:
                    del tree[key]
                    reading.say(f"{section}.{key}" if section else str(key), "acts", "the environment says it too")
                continue
            if not _fits(tree[key], fields[home][name]):
                continue
            trees[home][name] = tree.pop(key)
            place = f"{section}.{key}" if section else str(key)
            _say(place, f"{home}.{name}", reading)


def traced(general: Tree, litellm: Tree, reading: Reading) -> None:
    """`general_settings.otel: true` is the callback of that name, as in LiteLLM."""
    names = litellm.get("callbacks") or []
    if general.get("otel") is not True or not isinstance(names, list | str):
        return
    listed = [names] if isinstance(names, str) else names
    litellm["callbacks"] = listed if "otel" in listed else [*listed, "otel"]
    del general["otel"]
    reading.say("general_settings.otel", "acts", "as litellm_settings.callbacks: [otel]")


def unfold(loose: Tree) -> dict[str, Tree]:
    """Sections of people's own whose keys may belong into another: out of `loose`, by name."""
    found = {}
    for name in list(loose):
        is_own = name.endswith("_settings") and name not in SECTIONS
        if isinstance(loose[name], dict) and loose[name] and (is_own or name == "logging"):
            found[name] = {str(key): value for key, value in loose.pop(name).items()}
    return found


def groups(router: Tree, litellm: Tree, reading: Reading) -> None:
    """An alias of several models: it means the first, and the others when that fails."""
    aliases = router.get("model_group_alias")
    if not isinstance(aliases, dict):
        return
    chains = {
        alias: names for alias, names in aliases.items()
        if _are_several(names)
    }  # fmt: skip
    for alias, (first, *others) in chains.items():
        home = litellm if litellm.get("fallbacks") and not router.get("fallbacks") else router
        home["fallbacks"] = [*(home.get("fallbacks") or []), {alias: others}]
        router["model_group_alias"] = {**router["model_group_alias"], alias: first}
        place = f"router_settings.model_group_alias.{alias}"
        reading.say(place, "differently", "as its first model, with the others as its fallbacks; LiteLLM takes one")
        reading.warn(f"{place}: read as {first}, with the others as its fallbacks")


def _are_several(names: Any) -> bool:
    return isinstance(names, list) and len(names) > 1 and all(isinstance(name, str) and name for name in names)


def _home(name: str, fields: Mapping[str, Mapping[str, Known]]) -> str | None:
    """Where a key belongs on which somebody acts."""
    return next((section for section, found in fields.items() if name in found and found[name].by.services), None)


def _fits(value: Any, field: Known) -> bool:
    if value is None or isinstance(value, Unset):
        return False
    try:
        convert(value, field.type, field.name)
    except ConfigError:
        return False
    return True


def _say(place: str, home: str, reading: Reading) -> None:
    reading.say(place, "differently", f"as {home}; LiteLLM ignores it here")
    reading.warn(f"{place}: read as {home}")


def entry(given: Any, place: str, reading: Reading) -> Any:
    """An entry of `model_list` with everything where it belongs."""
    if not isinstance(given, dict) or not isinstance(given.get("litellm_params"), dict):
        return given
    params, moved = dict(given["litellm_params"]), dict(given)
    info = dict(given["model_info"]) if isinstance(given.get("model_info"), dict) else None
    has_info_place = info is not None or given.get("model_info") is None
    fields, of_info = known(EntryParams), known(EntryInfo)
    if isinstance(params.get("model_info"), dict) and has_info_place:
        within, kept = params.pop("model_info"), {}
        for key, value in within.items():
            if key in OPENS:
                kept[key] = value
            else:
                info = {str(key): value, **(info or {})}
                _say(f"{place}.litellm_params.model_info.{key}", f"{place}.model_info.{key}", reading)
        if kept:
            params["model_info"] = kept
    for key in [key for key in given if str(key) in SHOWN]:
        if isinstance(given[key], str) and has_info_place:
            info = {str(key): moved.pop(key), **(info or {})}
            _say(f"{place}.{key}", f"{place}.model_info.{key}", reading)
    for key in given:
        name = str(key)
        acts = (name in fields and fields[name].by.services) or is_price(name)
        if acts and name not in params and name not in ONLY_THERE:
            params[name] = moved.pop(key)
            _say(f"{place}.{key}", f"{place}.litellm_params.{name}", reading)
    for key in list(params):
        name = str(key)
        if name in OF_ENTRY and OF_ENTRY[name] not in params:
            params[OF_ENTRY[name]] = params.pop(key)
            _say(f"{place}.litellm_params.{key}", f"{place}.litellm_params.{OF_ENTRY[name]}", reading)
        elif name.startswith("supports_") or name in OF_INFO:
            meant = OF_INFO.get(name, name)
            if given.get("model_info") is None or (info is not None and meant not in info):
                info = info or {}
                if meant not in of_info or _fits(params[key], of_info[meant]):
                    info[meant] = params.pop(key)
                    _say(f"{place}.litellm_params.{key}", f"{place}.model_info.{meant}", reading)
    moved["litellm_params"] = params
    if info:
        moved["model_info"] = info
    return moved


def shapes(section: str, tree: Tree, reading: Reading) -> None:
    """Chains of models, and names of models, in the shapes that people give them; before
    `take_over`, which looks at types.
    """
    at = f"{section}." if section else ""
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        if isinstance(tree.get(key), list | dict):
            _chains(f"{at}{key}", key, tree, reading)
    aliases = tree.get("model_group_alias")
    if isinstance(aliases, dict):
        tree["model_group_alias"] = _aliases(f"{at}model_group_alias", aliases, reading)
    if (
        isinstance(cache := tree.get("cache"), dict)
        and ("type" in cache or "host" in cache)
        and not tree.get("cache_params")
    ):
        tree["cache"] = cache.get("enabled") is not False
        tree["cache_params"] = {name: value for name, value in cache.items() if name != "enabled"}
    _retries(at, tree, reading)
    strategy = tree.get("routing_strategy")
    if isinstance(strategy, str):
        tree["routing_strategy"] = strategy.strip(" \"'").lower().replace("_", "-")


_OF_POLICY = {
    "max_retries": "num_retries",
    "num_retries": "num_retries",
    "retry_count": "num_retries",
    "retry_delay": "retry_after",
    "min_backoff_seconds": "retry_after",
}
"""What people write into a `retry_policy`, and LiteLLM has beside it."""


def _retries(at: str, tree: Tree, reading: Reading) -> None:
    policy = tree.get("retry_policy")
    for name, meant in _OF_POLICY.items():
        if isinstance(policy, dict) and name in policy and meant not in tree and _is_number(policy[name]):
            policy = tree["retry_policy"] = dict(policy)
            tree[meant] = policy.pop(name)
            _say(f"{at}retry_policy.{name}", f"router_settings.{meant}", reading)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _aliases(place: str, given: Tree, reading: Reading) -> Tree:
    """What names no model is named and left: nothing is opened by it. Several: see `groups`."""
    found = {}
    for alias, meant in given.items():
        one = meant[0] if isinstance(meant, list) and len(meant) == 1 else meant
        if isinstance(one, list) and not _are_several(one):
            reading.say(f"{place}.{alias}", "no effect", "it must name one model")
            reading.warn(f"{place}.{alias}: not used (it must name one model)")
        else:
            found[alias] = one
    return found


def _chains(place: str, key: str, tree: Tree, reading: Reading) -> None:
    """`[{model: [other]}]` from `{model: [other]}`, `[{model: other}]`, `[{model: [{model:
    other}]}]` and `[[model, other]]`; plain names are `default_fallbacks`."""
    given = tree[key]
    chains: list[dict[str, list[str]]] = []
    plain: list[str] = []
    for number, each in enumerate([{k: v} for k, v in given.items()] if isinstance(given, dict) else given):
        if isinstance(each, str) and key == "fallbacks":
            plain.append(each)
            continue
        pairs = _pairs(each)
        if pairs is None:
            at = f"{place}[{number}]"
            reading.say(at, "no effect", "no chain of models, like {model: [other]}")
            reading.warn(f"{at}: not used (no chain of models, like {{model: [other]}})")
        else:
            chains.append(pairs)
    tree[key] = chains
    if plain:
        tree.setdefault("default_fallbacks", plain)


_MODEL = ("model", "model_name")
_DESCRIBED = [{model, others} for model in _MODEL for others in ("fallbacks", "fallback_models")]
"""Names in which people describe a chain."""


def _pairs(each: Any) -> dict[str, list[str]] | None:
    if isinstance(each, list) and len(each) > 1:
        each = {each[0]: each[1:]}
    if isinstance(each, dict) and each.keys() in _DESCRIBED:
        model, others = each.values() if next(iter(each)) in _MODEL else reversed(each.values())
        each = {model: others} if isinstance(model, str) else each
    if not isinstance(each, dict) or not each:
        return None
    found: dict[str, list[str]] = {}
    for model, others in each.items():
        names = [others] if isinstance(others, str) else others
        if isinstance(names, list):
            names = [each["model"] if isinstance(each, dict) and each.keys() == {"model"} else each for each in names]
        if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
            return None
        if isinstance(others, str) and len(each) > 1:  # {model: a, context_window: ...}: a description, no chain
            return None
        found[str(model)] = [str(name) for name in names]
    return found

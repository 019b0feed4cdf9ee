"""An entry whose `model` is the name of other entries of the same file (`model: my-gpt`, where
`model_name: my-gpt` is): it stands for those, with what it says of its own. LiteLLM refuses calls
to it. Pure.
"""

from typing import Any

from shared.config.fields import Reading
from shared.config.providers import PROVIDERS, of_model_name

STEPS_MAX = 5
"""From name to name."""
_OWN_WAY = ("api_base", "base_url", "custom_llm_provider", "litellm_credential_name", "mock_response")
_OWN_NAMES = ("id", "team_id", "team_public_model_name")


def targets(entry: Any, entries: list[Any]) -> list[dict[str, Any]]:
    """What it stands for; empty: itself."""
    found, seen = [entry], set[str]()
    for _ in range(STEPS_MAX):
        name = _named(found[0], entries)
        if name is None or name in seen:
            break
        seen.add(name)
        own = found[0]
        found = [_joined(own, each) for each in entries if isinstance(each, dict) and each.get("model_name") == name]
    return found if seen and _named(found[0], entries) is None else []


def say(about: Reading, place: str, entry: dict[str, Any], reading: Reading) -> None:
    """What became of the entry's own keys.

    Args:
        about: what was found out of all that stands for it.
    """
    own = {f"{place}.{part}.{key}" for part in ("litellm_params", "model_info") for key in entry.get(part) or {}}
    name = entry["litellm_params"]["model"]
    reading.say(f"{place}.litellm_params.model", "differently", f"as {name} of this file; LiteLLM refuses its calls")
    reading.warn(f"{place}.litellm_params.model: read as {name} of this file")
    for key in about.keys:
        if key.place in own and key.place != f"{place}.litellm_params.model":
            reading.say(key.place, key.verdict, key.note)


def _named(entry: Any, entries: list[Any]) -> str | None:
    """The name of others that it means; None: it means a model."""
    params = entry.get("litellm_params") if isinstance(entry, dict) else None
    name = params.get("model") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(name, str) or name == entry.get("model_name"):
        return None
    if any(params.get(key) for key in _OWN_WAY) or "*" in name or name.partition("/")[0] in PROVIDERS:
        return None
    if of_model_name(name, has_key=bool(params.get("api_key"))) is not None:
        return None
    return name if any(isinstance(each, dict) and each.get("model_name") == name for each in entries) else None


def _joined(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The other, under the entry's name, with the entry's own parameters before the other's."""
    said = {key: value for key, value in own["litellm_params"].items() if key != "model"}
    theirs = other.get("litellm_params")
    params = {**theirs, **said} if isinstance(theirs, dict) else said
    info = {
        **{key: value for key, value in _info(other).items() if key not in _OWN_NAMES},
        **{key: value for key, value in _info(own).items() if key != "id"},
    }
    joined = {**other, "model_name": own.get("model_name"), "litellm_params": params}
    joined.pop("model_info", None)
    return {**joined, "model_info": info} if info else joined


def _info(entry: dict[str, Any]) -> dict[str, Any]:
    info = entry.get("model_info")
    return info if isinstance(info, dict) else {}

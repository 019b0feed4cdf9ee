"""A request's parameters on their way to one deployment: what its entry adds, and what its provider
doesn't take.

One row a provider (`REFUSED`), rules for models (`_MODELS`), other names (`_RENAMED`). Everything
else passes: fields that aren't OpenAI's are the provider's own. Pure; made once a deployment,
applied to every call.

Order: the entry's defaults and `extra_body` where the caller says nothing;
`additional_drop_params`; what the provider refuses is dropped (`drop_params`), or the call is
refused with a 400 that names it. `allowed_openai_params` passes whatever the table says.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from services.edge.providers import call_ids
from services.edge.providers.translate import claude
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

Fields = Mapping[str, msgspec.Raw]

_SOUND: Final = frozenset({"modalities", "audio", "prediction"})
_PROBABILITIES: Final = frozenset({"logprobs", "top_logprobs", "logit_bias"})
_PENALTIES: Final = frozenset({"presence_penalty", "frequency_penalty"})
_OPENAI: Final = _SOUND | {
    "service_tier", "store", "verbosity", "web_search_options", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
}  # fmt: skip
"""What OpenAI alone has, unless a row says otherwise."""
_TOOLS: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
_EFFORT: Final = frozenset({"reasoning_effort", "thinking"})

_ANTHROPIC: Final = (
    _PENALTIES | _PROBABILITIES | (_OPENAI - {"web_search_options", "service_tier"}) | {"n", "seed", "best_of"}
)
_COHERE: Final = (_PROBABILITIES - {"logprobs"}) | _OPENAI | {"n", "parallel_tool_calls"}
_OLLAMA: Final = _PROBABILITIES | _OPENAI | {"n", "parallel_tool_calls"}
_GEMINI: Final = (_OPENAI - {"modalities", "audio", "web_search_options", "service_tier"}) | {
    "logit_bias",
    "parallel_tool_calls",
}

REFUSED: Final[dict[str, frozenset[str]]] = {
    "ai21": _PROBABILITIES | _PENALTIES | _OPENAI | _EFFORT | {"parallel_tool_calls"},
    "ai21_chat": _PROBABILITIES | _PENALTIES | _OPENAI | _EFFORT | {"parallel_tool_calls"},
    "anthropic": _ANTHROPIC,
    "bedrock": (_ANTHROPIC | {"web_search_options"}) - {"service_tier"},
    "bedrock_converse": (_ANTHROPIC | {"web_search_options"}) - {"service_tier"},
    "cerebras": _PENALTIES | _OPENAI | {"n", "logit_bias", "thinking"},
    "cohere": _COHERE,
    "cohere_chat": _COHERE,
    "databricks": _PENALTIES | _PROBABILITIES | (_OPENAI - {"service_tier"}) | {"seed", "parallel_tool_calls"},
    "deepinfra": _OPENAI | {"seed", "parallel_tool_calls", "top_logprobs", "thinking"},
    "deepseek": _OPENAI | {"n", "seed", "logit_bias", "parallel_tool_calls"},
    "fireworks_ai": _SOUND | {"store", "verbosity", "web_search_options", "safety_identifier", "thinking"},
    "gemini": _GEMINI,
    "groq": (_OPENAI - {"service_tier"}) | _PROBABILITIES | {"thinking"},
    "hyperbolic": _PROBABILITIES | _OPENAI | _EFFORT | {"parallel_tool_calls"},
    "mistral": (_OPENAI - {"prompt_cache_key", "prediction"}) | _PROBABILITIES | {"thinking"},
    "minimax": frozenset({"verbosity", "reasoning_effort", "logit_bias"}),
    "nvidia_nim": _OPENAI | {"n", "logit_bias", "thinking"},
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "perplexity": _TOOLS | _PROBABILITIES | (_OPENAI - {"web_search_options"}) | {"n", "stop", "seed", "thinking"},
    "sagemaker_chat": frozenset({"verbosity", "store", "prediction"}),
    "sambanova": _PENALTIES | _PROBABILITIES | _OPENAI | {"n", "seed", "thinking"},
    "vertex_ai": _GEMINI | {"service_tier"},
    "vertex_ai_beta": _GEMINI | {"service_tier"},
    "volcengine": _OPENAI | {"parallel_tool_calls"},
    "watsonx": _OPENAI | {"logit_bias", "parallel_tool_calls", "thinking"},
    "xai": _SOUND | {"store", "verbosity", "safety_identifier", "thinking", "logit_bias", "prompt_cache_retention"},
    "zai": _PENALTIES | _PROBABILITIES | _OPENAI | {"n", "seed", "parallel_tool_calls"},
}  # fmt: skip
"""LiteLLM's provider -> parameters of OpenAI's that it answers with an error. Whoever isn't here
passes everything on.
"""

_SAMPLING: Final = frozenset({"temperature", "top_p"})
_GPT5: Final = _SAMPLING | _PENALTIES | _PROBABILITIES | {"stop", "prediction"}


class _Rule(msgspec.Struct, frozen=True):
    providers: frozenset[str]
    models: re.Pattern[str]
    refused: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    renamed: dict[str, str] = {}


def _rule(providers: str, models: str, **more: Any) -> _Rule:
    return _Rule(frozenset(providers.split()), re.compile(models), **more)


_TO_NEW: Final = {"max_tokens": "max_completion_tokens"}
_TO_OLD: Final = {"max_completion_tokens": "max_tokens"}
_MODELS: Final = (
    _rule("openai azure", r"(?:^|/)o[134](?:-|$)", refused=(_GPT5 - {"stop"}) | {"verbosity", "thinking"}, renamed=_TO_NEW),
    _rule("openai azure", r"(?:^|/)gpt-5(?!.*chat)", refused=_GPT5 | {"thinking"}, renamed=_TO_NEW),
    _rule("openai azure", r"(?:^|/)(?:gpt-3|gpt-4|chatgpt)", refused=frozenset({"reasoning_effort", "verbosity", "thinking"})),
    _rule("xai", r"grok-(?:3-mini|4|code)", refused=_PENALTIES | {"stop"}),
    _rule("xai", r"grok-(?:2|3(?!-mini)|4(?!.*fast))", refused=frozenset({"reasoning_effort"})),
    _rule("mistral", r"^(?!magistral|mistral-(?:small|medium)-latest)", refused=frozenset({"reasoning_effort"})),
    _rule("bedrock bedrock_converse", r"(?:meta\.llama|ai21\.|deepseek|qwen|openai\.)", refused=frozenset({"tool_choice"})),
    _rule("bedrock bedrock_converse", r"(?:meta\.llama|ai21\.|mistral|nova-(?:pro|lite|micro|premier))", refused=_EFFORT),
    _rule("vertex_ai", r"claude-", refused=_ANTHROPIC | {"service_tier"}, taken=frozenset({"parallel_tool_calls"})),
    _rule("gemini vertex_ai", r"gemini-(?:1|2\.0)", refused=_EFFORT),
    _rule("github", r"^(?:gpt-3|gpt-4)", refused=frozenset({"reasoning_effort", "verbosity", "thinking"})),
)  # fmt: skip
"""Of models, after their provider's row."""

_RENAMED: Final[dict[str, dict[str, str]]] = {
    "mistral": {**_TO_OLD, "seed": "random_seed"},
    "deepseek": _TO_OLD,
    "hyperbolic": _TO_OLD,
    "perplexity": _TO_OLD,
    "watsonx": _TO_OLD,
    "together_ai": _TO_OLD,
    "volcengine": _TO_OLD,
    "moonshot": _TO_OLD,
}
"""The same parameter by the name the provider knows."""

_NEUTRAL: Final[dict[str, frozenset[bytes]]] = {
    "n": frozenset({b"1"}),
    "temperature": frozenset({b"1", b"1.0"}),
    "top_p": frozenset({b"1", b"1.0"}),
    "presence_penalty": frozenset({b"0", b"0.0"}),
    "frequency_penalty": frozenset({b"0", b"0.0"}),
    "logprobs": frozenset({b"false"}),
    "top_logprobs": frozenset({b"0"}),
    "logit_bias": frozenset({b"{}"}),
    "parallel_tool_calls": frozenset({b"true"}),
    "store": frozenset({b"false"}),
    "service_tier": frozenset({b'"auto"', b'"default"'}),
    "modalities": frozenset({b'["text"]'}),
    "tool_choice": frozenset({b'"auto"'}),
    "reasoning_effort": frozenset({b'"none"'}),
    "verbosity": frozenset({b'"medium"'}),
    "stop": frozenset({b"[]"}),
    "tools": frozenset({b"[]"}),
}
"""Values that ask for what happens anyway: left out where they aren't taken, and no reason to
refuse a call.
"""
_TIERS_OF_ANTHROPIC: Final = frozenset({b'"auto"', b'"default"', b'"standard_only"'})
_VALUES: Final[dict[str, dict[str, frozenset[bytes]]]] = {
    "anthropic": {"service_tier": _TIERS_OF_ANTHROPIC},
    "gemini": {"service_tier": frozenset({b'"auto"', b'"default"', b'"standard"', b'"flex"', b'"priority"'})},
    "bedrock": {"service_tier": frozenset({b'"auto"', b'"default"', b'"flex"', b'"priority"', b'"reserved"'})},
}
"""Parameters that a provider takes with these values only."""
_HINTS: Final = frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
"""They change no answer: left out where they aren't taken."""
_NULL: Final = b"null"
_SAME_BOUND: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class CachePoint(msgspec.Struct, frozen=True):
    """`cache_control_injection_points`: messages that are marked for the provider's prompt
    cache.
    """

    role: str | None
    index: int | None
    """Of the message; negative from the end. None: all of the role."""
    control: bytes


_EPHEMERAL: Final = {"type": "ephemeral"}


class Parameters(msgspec.Struct, frozen=True):
    """Of one deployment. Made by `of`."""

    provider: str
    model: str
    refused: frozenset[str]
    renamed: Mapping[str, str]
    defaults: Mapping[str, msgspec.Raw]
    """Sent where the caller says nothing."""
    dropped: frozenset[str]
    """Never sent."""
    paths: tuple[tuple[str, ...], ...]
    """Places inside a field that are never sent: `("tools", "*", "function", "strict")`."""
    drop: bool
    values: Mapping[str, frozenset[bytes]] = {}
    """Of parameters that are taken with these values only."""
    cache_points: tuple["CachePoint", ...] = ()
    own_ids: bool = False
    """Ids of calls are at most 40 characters here: those that carry a signature of Gemini's, in a
    conversation that began there, are replaced.
    """
    ids_alone: bool = False
    """Nothing else is ever changed."""

    def apply(self, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """`fields` itself where nothing changes. Raises RefusedError (400) naming what the provider
        doesn't take.
        """
        if self.own_ids and "messages" in fields:
            messages = call_ids.for_openai(fields["messages"])
            if messages is not fields["messages"]:
                fields = {**fields, "messages": messages}
        if self.ids_alone:
            return fields
        if self.defaults:
            added = {name: raw for name, raw in self.defaults.items() if _is_unsaid(fields, name)}
            if added:
                fields = {**fields, **added}
        gone = [name for name in fields if name in self.dropped]
        if not self.refused.isdisjoint(fields) or not self.values.keys().isdisjoint(fields):
            gone += self._refused(fields)
        if gone:
            fields = {name: raw for name, raw in fields.items() if name not in gone}
        for path in self.paths:
            if path[0] in fields:
                fields = {**fields, path[0]: _without(fields[path[0]], path[1:])}
        if self.cache_points and "messages" in fields:
            fields = {**fields, "messages": _with_cache_points(fields["messages"], self.cache_points)}
        for old, new in self.renamed.items():
            if old in fields:
                fields = {(new if name == old else name): raw for name, raw in fields.items() if name != new}
        return fields

    def _refused(self, fields: dict[str, msgspec.Raw]) -> list[str]:
        gone, wrong = [], []
        for name in fields:
            if name in self.dropped or (name not in self.refused and name not in self.values):
                continue
            raw = bytes(fields[name]).strip() if len(memoryview(fields[name])) <= 32 else b""
            if name in self.values and name not in self.refused and (raw == _NULL or raw in self.values[name]):
                continue
            gone.append(name)
            if raw != _NULL and name not in _HINTS and raw not in _NEUTRAL.get(name, ()):
                wrong.append(name)
        if wrong and not self.drop:
            raise RefusedError(
                errors.bad_request(
                    f"{self.provider} does not support parameters: {wrong}, for model={self.model}. To drop these, set "
                    "`drop_params: true` in litellm_settings, or in the model's litellm_params",
                    wrong[0],
                )
            )
        return gone


def _is_unsaid(fields: Fields, name: str) -> bool:
    """A null is no word; and a bound on the output by its other name is one."""
    raw = fields.get(name)
    if raw is not None and bytes(memoryview(raw)[:5]) != _NULL:
        return False
    other = _SAME_BOUND.get(name)
    return other is None or other not in fields or bytes(fields[other]) == _NULL


def of(
    provider: str,
    model: str,
    *,
    defaults: Mapping[str, Any] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    drop: bool = False,
    additional_drop: Iterable[str] = (),
    allowed: Iterable[str] = (),
    cache_points: Iterable[Mapping[str, Any]] = (),
) -> Parameters | None:
    """None: nothing is ever changed for this deployment.

    Args:
        provider, model: as LiteLLM names them: `bedrock`, `us.anthropic.claude-...`.
        defaults: what the entry sets (`temperature`, `max_tokens` ...).
    """
    refused, renamed = set(REFUSED.get(provider, ())), dict(_RENAMED.get(provider, {}))
    for rule in _MODELS:
        if provider in rule.providers and rule.models.search(model):
            refused |= rule.refused
            refused -= rule.taken
            renamed |= rule.renamed
    if provider in _CLAUDES and "claude" in model:
        traits = claude.of(model)
        if not traits.sampling:
            refused |= {*_SAMPLING, "top_k"}
        if not traits.thinks:
            refused |= _EFFORT
    allowed = frozenset(allowed)
    refused -= allowed
    named = [tuple(filter(None, re.split(r"[.\[\]]+", path))) for path in additional_drop]
    found = Parameters(
        provider=provider,
        model=model,
        refused=frozenset(refused),
        renamed=renamed,
        defaults={
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in {**(extra_body or {}), **(defaults or {})}.items()
            if value is not None
        },
        dropped=frozenset(path[0] for path in named if len(path) == 1),
        paths=tuple(path for path in named if len(path) > 1),
        drop=drop,
        values={name: values for name, values in _VALUES.get(provider, {}).items() if name not in allowed},
        cache_points=tuple(
            CachePoint(point.get("role"), point.get("index"), msgspec.json.encode(point.get("control") or _EPHEMERAL))
            for point in cache_points
            if point.get("location", "message") == "message"
        ),
        own_ids=provider in _MAKERS_OF_IDS,
    )
    quiet = not (found.refused or found.renamed or found.defaults or found.dropped or found.paths)
    quiet = quiet and not (found.values or found.cache_points)
    if quiet and not found.own_ids:
        return None
    return msgspec.structs.replace(found, ids_alone=quiet)


_MAKERS_OF_IDS: Final = frozenset({"openai", "azure"})
_CLAUDES: Final = frozenset({"anthropic", "bedrock", "bedrock_converse", "vertex_ai"})


def _without(raw: msgspec.Raw, path: tuple[str, ...]) -> msgspec.Raw:
    try:
        tree = msgspec.json.decode(raw)
    except UNREADABLE:
        return raw
    _remove(tree, path)
    return msgspec.Raw(msgspec.json.encode(tree))


def _remove(tree: Any, path: tuple[str, ...]) -> None:
    head, rest = path[0], path[1:]
    if head == "*" or head.isdigit():
        if isinstance(tree, list):
            for i, item in enumerate(tree):
                if rest and head in ("*", str(i)):
                    _remove(item, rest)
    elif isinstance(tree, dict) and head in tree:
        if rest:
            _remove(tree[head], rest)
        else:
            del tree[head]


class _Message(msgspec.Struct):
    role: Any = None


_roles = msgspec.json.Decoder(list[_Message])
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_message = msgspec.json.Decoder(dict[str, msgspec.Raw])
_parts = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def _with_cache_points(raw: msgspec.Raw, points: Iterable[CachePoint]) -> msgspec.Raw:
    """Messages that can't be read stay as they are: whoever reads them next says what is wrong."""
    try:
        roles, messages = _roles.decode(raw), _messages.decode(raw)
        for point in points:
            for i in range(len(messages)):
                at = point.index if point.index is None or point.index >= 0 else len(messages) + point.index
                if (point.role is None or roles[i].role == point.role) and (at is None or i == at):
                    messages[i] = _marked(messages[i], point.control)
    except UNREADABLE:
        return raw
    return msgspec.Raw(msgspec.json.encode(messages))


def _marked(raw: msgspec.Raw, control: bytes) -> msgspec.Raw:
    """A string is marked by its message, parts by the last of them."""
    message = _message.decode(raw)
    if bytes(message.get("content", b""))[:1] == b"[":
        parts = _parts.decode(message["content"])
        if parts:
            parts[-1]["cache_control"] = msgspec.Raw(control)
            message["content"] = msgspec.Raw(msgspec.json.encode(parts))
    else:
        message["cache_control"] = msgspec.Raw(control)
    return msgspec.Raw(msgspec.json.encode(message))

"""Services that are asked about words and answer whether these may pass: each a row of `SCANNERS`,
by the shape of its question and answer.

They refuse, and change nothing: what such a service would only mask is refused too. All roles are
asked about.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.moderation.guardrails.llm_guard import VIOLATED
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, each, setting
from services.moderation.inspection import Finding, Inspection, Message
from shared.config import ConfigError
from shared.guardrails import AFTER, LANGUAGE, Enabled

Params = Mapping[str, Any]
AZURE_CHARACTERS_MAX = 10_000
"""Of one question to Azure's Content Safety."""
AZURE_VERSION = "2024-09-01"
AZURE_CATEGORIES = ("Hate", "Sexual", "SelfHarm", "Violence")
AZURE_SEVERITY = 2
"""From which severity on a text is refused, where the entry doesn't say."""


class Scanner(msgspec.Struct, frozen=True, kw_only=True):
    header: str
    """That has the key; `authorization` has `Bearer ` before it."""
    path: Callable[[Params], str]
    questions: Callable[[list[Message], bool, Params], list[Any]]
    """(what was said, whether it is an answer, params) -> the questions about it."""
    found: Callable[[dict[str, Any], Params], list[str] | None]
    """Of an answer: kinds of what must not pass. None: it isn't the service's answer."""
    base: str = ""
    base_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    check: Callable[[Params], str] = lambda params: ""
    """What is wrong with the entry's params; empty: nothing."""


class Scanned:
    def __init__(self, service: Service, scanner: Scanner, params: Params) -> None:
        self._service = service
        self._scanner = scanner
        self._params = params

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "Scanned":
        """Raises ConfigError."""
        scanner, params = SCANNERS[enabled.spec.integration], enabled.params
        base = setting(parts, enabled, "api_base", *scanner.base_variables) or scanner.base
        key = setting(parts, enabled, "api_key", *scanner.key_variables)
        if not base or not key:
            raise ConfigError(f"the guardrail {enabled.name!r} needs litellm_params.api_base and api_key")
        wrong = scanner.check(params)
        if wrong:
            raise ConfigError(f"the guardrail {enabled.name!r}: litellm_params.{wrong}")
        value = f"Bearer {key}" if scanner.header == "authorization" else key
        return cls(Service.of(parts, enabled, base, {scanner.header: value}), scanner, params)

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        said = [message for message in inspection.messages(LANGUAGE) if message.text.strip()]
        if not said:
            return []
        path = self._scanner.path(self._params)

        async def ask(question: Any) -> list[str]:
            answer = await self._service.ask(path, question)
            found = self._scanner.found(answer, self._params) if isinstance(answer, dict) else None
            if found is None:
                raise NoAnswerError("not the service's answer")
            return found

        questions = self._scanner.questions(said, inspection.stage == AFTER, self._params)
        types = [name[:64] for found in await each(questions, ask) for name in found]
        return [Finding(block=True, message=VIOLATED, types=list(dict.fromkeys(types)))] if types else []

    def open_from(self, text: str) -> int | None:
        return 0


# ── Azure AI Content Safety ──


def _pieces(said: list[Message]) -> list[str]:
    """Long texts in pieces, each begun a little before the end of the one before: nothing is cut in
    two unseen.
    """
    size, step = AZURE_CHARACTERS_MAX, AZURE_CHARACTERS_MAX - 500
    return [
        text[start : start + size]
        for text in (each.text for each in said)
        for start in range(0, max(1, len(text) - 500), step)
    ]


def _azure_path(action: str) -> Callable[[Params], str]:
    def path(params: Params) -> str:
        return f"/contentsafety/text:{action}?api-version={params.get('api_version') or AZURE_VERSION}"

    return path


def _severities(answer: dict[str, Any], params: Params) -> list[str] | None:
    rows = answer.get("categoriesAnalysis")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    by_category = params.get("severity_threshold_by_category") or {}
    usual = params.get("severity_threshold") or (None if by_category else AZURE_SEVERITY)
    found = []
    for row in rows:
        severity = row.get("severity")
        if not isinstance(severity, int):
            return None
        limits = [limit for limit in (by_category.get(row.get("category")), usual) if limit is not None]
        if any(severity >= int(limit) for limit in limits):
            found.append(str(row.get("category")))
    listed = answer.get("blocklistsMatch")
    return [*found, *(["blocklist"] if listed else [])]


def _azure_wrong(params: Params) -> str:
    by_category = params.get("severity_threshold_by_category") or {}
    values = by_category.values() if isinstance(by_category, dict) else [None]
    for value in (params.get("severity_threshold") or 1, *values):
        if isinstance(value, bool) or not str(value).isdigit() or not 0 < int(value) <= 7:
            return "severity_threshold and severity_threshold_by_category have whole numbers from 1 to 7"
    return ""


def _attack(answer: dict[str, Any], params: Params) -> list[str] | None:
    said = answer.get("userPromptAnalysis")
    if not isinstance(said, dict) or not isinstance(said.get("attackDetected"), bool):
        return None
    return ["attack"] if said["attackDetected"] else []


# ── Lakera, Aporia, Prisma AIRS ──


def _turns(said: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role or "user", "content": message.text} for message in said]


def _lakera(said: list[Message], answered: bool, params: Params) -> list[Any]:
    question: dict[str, Any] = {"messages": _turns(said), "breakdown": True}
    if answered:
        question["messages"] = [{**turn, "role": "assistant"} for turn in question["messages"]]
    return [question | {key: params[key] for key in ("project_id", "metadata") if params.get(key)}]


def _flagged(answer: dict[str, Any], params: Params) -> list[str] | None:
    if not isinstance(answer.get("flagged"), bool):
        return None
    if not answer["flagged"]:
        return []
    rows = answer.get("breakdown") or []
    kinds = [str(row.get("detector_type")) for row in rows if isinstance(row, dict) and row.get("detected") is True]
    return kinds or ["flagged"]


def _aporia(said: list[Message], answered: bool, params: Params) -> list[Any]:
    if answered:
        return [{"response": "\n".join(message.text for message in said), "validation_target": "response"}]
    roles = ("system", "user", "assistant", "other")
    turns = [turn if turn["role"] in roles else {**turn, "role": "other"} for turn in _turns(said)]
    return [{"messages": turns, "validation_target": "prompt"}]


def _airs(said: list[Message], answered: bool, params: Params) -> list[Any]:
    profile = {key: params[key] for key in ("profile_id", "profile_name") if params.get(key)}
    app = params.get("app_name")
    about = {"app_name": f"Tollgate-{app}" if app else "Tollgate", **({"is_response": True} if answered else {})}
    return [
        {
            "metadata": about,
            "contents": [{"response" if answered else "prompt": message.text}],
            **({"ai_profile": profile} if profile else {}),
        }
        for message in said
    ]


def _action(answer: dict[str, Any], kind: str, passing: tuple[str, ...]) -> list[str] | None:
    action = answer.get("action")
    if action == "block":
        return [kind]
    return [] if action in passing else None


SCANNERS: dict[str, Scanner] = {
    "azure/text_moderations": Scanner(
        header="ocp-apim-subscription-key",
        path=_azure_path("analyze"),
        questions=lambda said, answered, params: [
            {
                "text": text,
                "categories": params.get("categories") or list(AZURE_CATEGORIES),
                "haltOnBlocklistHit": params.get("haltOnBlocklistHit") or False,
                "outputType": params.get("outputType") or "FourSeverityLevels",
                **({"blocklistNames": params["blocklistNames"]} if params.get("blocklistNames") else {}),
            }
            for text in _pieces(said)
        ],
        found=_severities,
        check=_azure_wrong,
    ),
    "azure/prompt_shield": Scanner(
        header="ocp-apim-subscription-key",
        path=_azure_path("shieldPrompt"),
        questions=lambda said, answered, params: [{"userPrompt": text, "documents": []} for text in _pieces(said)],
        found=_attack,
    ),
    "lakera_v2": Scanner(
        header="authorization",
        base="https://api.lakera.ai",
        base_variables=("LAKERA_API_BASE",),
        key_variables=("LAKERA_API_KEY",),
        path=lambda params: "/v2/guard",
        questions=_lakera,
        found=_flagged,
    ),
    "aporia": Scanner(
        header="x-aporia-api-key",
        base_variables=("APORIA_API_BASE",),
        key_variables=("APORIA_API_KEY",),
        path=lambda params: "/validate",
        questions=_aporia,
        found=lambda answer, params: _action(answer, "policy", ("passthrough", "modify", "rephrase")),
    ),
    "panw_prisma_airs": Scanner(
        header="x-pan-token",
        base="https://service.api.aisecurity.paloaltonetworks.com",
        base_variables=("PANW_PRISMA_AIRS_API_BASE",),
        key_variables=("PANW_PRISMA_AIRS_API_KEY",),
        path=lambda params: "/v1/scan/sync/request",
        questions=_airs,
        found=lambda answer, params: _action(answer, str(answer.get("category") or "policy"), ("allow",)),
    ),
}
"""By integration."""

"""`google_text_moderation`: Google's Natural Language API rates a text in 16 categories; too sure
of one refuses the call.
"""

import asyncio
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import Circuit, NoAnswerError, Service, setting
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import LANGUAGE, Enabled
from shared.outbound import Outbound, OutboundError

GOOGLE = "https://language.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-language"
DEFAULT_THRESHOLD = 0.8
CHARACTERS_MAX = 90_000
"""Of one question: Google's limit is 100,000 bytes for moderation of plain text; longer texts are
asked about in parts.
"""
TOKEN_AGE_S = 1_800

SETTINGS: dict[str, tuple[str, str]] = {
    "toxic": ("toxic_confidence_threshold", "toxic_threshold"),
    "insult": ("insult_confidence_threshold", "insult_threshold"),
    "profanity": ("profanity_confidence_threshold", "profanity_threshold"),
    "derogatory": ("derogatory_confidence_threshold", "derogatory_threshold"),
    "sexual": ("sexual_confidence_threshold", "sexual_threshold"),
    "death_harm_and_tragedy": ("death_harm_and_tragedy_confidence_threshold", "death_harm_and_tragedy_threshold"),
    "violent": ("violent_confidence_threshold", "violent_threshold"),
    "firearms_and_weapons": ("firearms_and_weapons_confidence_threshold", "firearms_and_weapons_threshold"),
    "public_safety": ("public_safety_confidence_threshold", "public_safety_threshold"),
    "health": ("health_confidence_threshold", "health_threshold"),
    "religion_and_belief": ("religion_and_belief_confidence_threshold", "religion_and_belief_threshold"),
    "illicit_drugs": ("illicit_drugs_confidence_threshold", "illicit_drugs_threshold"),
    "war_and_conflict": ("war_and_conflict_confidence_threshold", "war_and_conflict_threshold"),
    "politics": ("politics_confidence_threshold", "politics_threshold"),
    "finance": ("finance_confidence_threshold", "finance_threshold"),
    "legal": ("legal_confidence_threshold", "legal_threshold"),
}
"""Category -> its settings, in LiteLLM's spelling and the page's."""


class GoogleTextModeration:
    def __init__(self, service: Service, token: "Token", thresholds: Mapping[str, float]) -> None:
        self._service = service
        self._token = token
        self._thresholds = thresholds

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "GoogleTextModeration":
        """Raises ConfigError for credentials that can't be read, and thresholds that are none."""
        path = setting(parts, enabled, "credentials", "GOOGLE_APPLICATION_CREDENTIALS")
        if path is None:
            raise ConfigError("google_text_moderation needs GOOGLE_APPLICATION_CREDENTIALS")
        base = setting(parts, enabled, "api_base", "GOOGLE_LANGUAGE_API_BASE") or GOOGLE
        assert parts.outbound is not None
        token = Token(Path(parts.config.directory) / path, parts.outbound)
        return cls(Service.of(parts, enabled, base), token, _thresholds(parts, enabled))

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        whole = "\n".join(message.text for message in inspection.messages(LANGUAGE) if message.text.strip())
        for start in range(0, len(whole), CHARACTERS_MAX):
            category = await self._worst(whole[start : start + CHARACTERS_MAX])
            if category is not None:
                message = f"Violated content safety policy. Category={category}"
                return [Finding(block=True, message=message, status=400, types=[category])]
        return []

    def open_from(self, text: str) -> int | None:
        return 0

    async def _worst(self, text: str) -> str | None:
        """The category that Google is surest of, of those past their threshold."""
        question = {"document": {"type": "PLAIN_TEXT", "content": text}}
        headers = {"authorization": f"Bearer {await self._token.get()}"}
        said = await self._service.ask("/v2/documents:moderateText", question, headers)
        found = said.get("moderationCategories") if isinstance(said, dict) else None
        if not isinstance(found, list):
            raise NoAnswerError("not Google's answer")
        worst, surest = None, 0.0
        for each in found:
            name, confidence = (
                (each.get("name"), each.get("confidence", 0.0)) if isinstance(each, dict) else (None, None)
            )
            if not isinstance(name, str) or not isinstance(confidence, int | float):
                raise NoAnswerError("not Google's answer")
            category = category_of(name)
            if confidence > self._thresholds.get(category, self._thresholds[""]) and confidence > surest:
                worst, surest = category, float(confidence)
        return worst


def category_of(name: str) -> str:
    """`Death, Harm & Tragedy` -> `death_harm_and_tragedy`."""
    return name.lower().replace("&", "and").replace(",", "").replace(" ", "_")


def _thresholds(parts: Parts, enabled: Enabled) -> dict[str, float]:
    """By category; "" for all others."""
    litellm = parts.config.litellm
    given: dict[str, Any] = {"": litellm.google_moderation_confidence_threshold}
    for category, names in SETTINGS.items():
        values = [getattr(litellm, name) for name in names] + [enabled.params.get(name) for name in names]
        given[category] = next((value for value in values if value is not None), None)
    found = {"": DEFAULT_THRESHOLD}
    for category, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"google_text_moderation: the threshold of {category or 'all categories'} must be 0 to 1")
        found[category] = float(value)
    return found


class Token:
    """Google's access token, from credentials of any kind that google-auth reads; renewed before it
    ends.
    """

    def __init__(self, file: Path, outbound: Outbound) -> None:
        """Raises ConfigError."""
        import google.auth  # noqa: PLC0415 - only where it is used

        try:
            kind = json.loads(file.read_text("utf-8"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of files from others; this one is the operator's
                self._credentials, _ = google.auth.load_credentials_from_dict(kind, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        except Exception as error:  # what google-auth raises isn't listed; its text may quote the file
            raise ConfigError(f"GOOGLE_APPLICATION_CREDENTIALS: {file} can't be read: {type(error).__name__}") from None
        self._outbound = outbound
        self.circuit = Circuit()
        self._lock = asyncio.Lock()
        self._made_at = -float(TOKEN_AGE_S)

    async def get(self) -> str:
        """Raises NoAnswerError."""
        async with self._lock:
            if time.monotonic() - self._made_at >= TOKEN_AGE_S or not self._credentials.token:
                with self.circuit.question(costs=False):
                    try:
                        transport = _transport(self._outbound, asyncio.get_running_loop())
                        await asyncio.to_thread(self._credentials.refresh, transport)
                    except Exception as error:
                        raise NoAnswerError(f"no token: {type(error).__name__}") from None
                self._made_at = time.monotonic()
            return str(self._credentials.token)


def _transport(outbound: Outbound, loop: asyncio.AbstractEventLoop) -> Any:
    """google-auth's way of sending, over ours: it runs in a thread, and waits for the loop."""
    from google.auth import exceptions, transport  # noqa: PLC0415

    class Answer(transport.Response):
        def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self._status, self._headers, self._body = status, headers, body

        status = property(lambda self: self._status)
        headers = property(lambda self: self._headers)
        data = property(lambda self: self._body)

    class Request(transport.Request):
        def __call__(self, url, method="GET", body=None, headers=None, timeout=None, **_):  # type: ignore[no-untyped-def]
            data = body.encode() if isinstance(body, str) else body
            asking = outbound.send(method, url, headers=headers, body=data, deadline_ms=int((timeout or 10) * 1000))
            try:
                answer = asyncio.run_coroutine_threadsafe(asking, loop).result()
            except OutboundError as error:
                raise exceptions.TransportError(error.code) from None  # type: ignore[no-untyped-call]
            return Answer(answer.status, answer.headers, answer.body)

    return Request()

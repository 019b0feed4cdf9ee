"""Vertex AI: Gemini in Google's wire, Claude in Anthropic's, everybody else's models at its OpenAI
address; one token for all.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

import asyncio
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT, EMBEDDINGS
from services.edge.providers import base, native
from services.edge.providers.base import Target, Translator
from services.edge.providers.tokens import FetchedToken
from services.edge.providers.translate import (
    openai_chat__gemini,
    openai_chat__vertex_claude,
    openai_embeddings__vertex,
)
from shared.config import ConfigError, Deployment
from shared.secrets.value import Secret

LOCATION = "us-central1"
"""LiteLLM's default."""
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_OTHERS = (
    "llama",
    "mistral",
    "codestral",
    "deepseek",
    "qwen",
    "gpt-oss",
    "kimi",
    "minimax",
    "jamba",
    "zai",
    "glm",
)
"""How names begin of models that Vertex AI sells for others; written in full they are
`maker/model`.
"""


class Vertex:
    """See base.Provider. Which of Vertex AI's wires a model has is part of the instance: `gemini`,
    `claude`, `openai`.
    """

    def __init__(self, kind: str, environ: Mapping[str, str]) -> None:
        self._kind = kind
        self._environ = environ
        self.wires: Mapping[str, str] = {CHAT.name: "/chat/completions"} if kind == "openai" else {}
        self.translators: Mapping[str, Translator] = {
            "gemini": {CHAT.name: openai_chat__gemini, EMBEDDINGS.name: openai_embeddings__vertex},
            "claude": {CHAT.name: openai_chat__vertex_claude},
            "openai": {},
        }[kind]

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        params = deployment.params
        headers, credentials, project = {}, None, params.vertex_project
        if deployment.api_key is not None:  # Vertex AI in express mode
            headers["x-goog-api-key"] = deployment.api_key.reveal()
        else:
            credentials = GoogleToken(params.vertex_credentials, self._environ)
        project = project or _first(self._environ, "VERTEXAI_PROJECT", "VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT")
        if project is None and credentials is not None:
            project = credentials.project()
        if project is None and deployment.api_key is None:
            raise ConfigError(f"model {deployment.model_name!r}: vertex_project is missing")
        location = params.vertex_location or _first(self._environ, "VERTEXAI_LOCATION", "VERTEX_LOCATION") or LOCATION
        host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
        api_base = deployment.api_base or f"https://{host}"
        if not api_base.endswith(("/v1", "/v1beta1")):
            api_base += "/v1"
        if project is not None:
            api_base += f"/projects/{quote(project, safe='-._:')}/locations/{quote(location, safe='-._')}"
        return base.target(self, deployment, user_agent, headers, credentials, api_base)

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        at = target.base_path
        if self._kind == "openai":
            return f"{at}/endpoints/openapi{self.wires[format]}"
        if model.isdigit():  # an endpoint of one's own: a tuned model
            where = f"{at}/endpoints/{model}"
        else:
            maker = "anthropic" if self._kind == "claude" else "google"
            where = f"{at}/publishers/{maker}/models/{quote(model, safe='-._@')}"
        if self._kind == "claude":
            return f"{where}:{'streamRawPredict' if stream else 'rawPredict'}"
        return f"{where}:{'predict' if format == EMBEDDINGS.name else native.method(format, stream=stream)}"

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        return base.no_play()


def kind_of(model: str) -> str:
    name = model.lower()
    if "claude" in name:
        return "claude"
    return "openai" if name.startswith(_OTHERS) or "/" in name else "gemini"


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


class GoogleToken(FetchedToken):
    """Of a service account's key (a file or its content), else what the machine offers (application
    default credentials).
    """

    issuer = "Google"

    def __init__(self, given: Secret | None, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._given = given
        self._environ = environ
        self._credentials: Any = None

    def project(self) -> str | None:
        """That the key belongs to."""
        found = self._key()
        project = found.get("project_id") if found is not None else None
        return project if isinstance(project, str) else None

    def _key(self) -> dict[str, Any] | None:
        text = self._given.reveal() if self._given is not None else ""
        path = text or self._environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        try:
            if not path.lstrip().startswith("{"):
                if not path:
                    return None
                with open(path, encoding="utf-8") as file:
                    path = file.read(1024 * 1024)
            found = json.loads(path)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    async def _fetch(self) -> tuple[str, float]:
        return await asyncio.to_thread(self._fresh)

    def _fresh(self) -> tuple[str, float]:
        import google.auth  # noqa: PLC0415 - heavy, and seldom needed
        import google.auth.transport.requests  # noqa: PLC0415

        if self._credentials is None:
            key = self._key()
            if key is not None:
                with warnings.catch_warnings():  # about keys from strangers: this one is the operator's
                    warnings.simplefilter("ignore", DeprecationWarning)
                    load = google.auth.load_credentials_from_dict
                    self._credentials, _ = load(key, scopes=[SCOPE])  # type: ignore[no-untyped-call]
            elif self._given is not None:
                raise ValueError("vertex_credentials is neither a file nor JSON")
            else:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
        self._credentials.refresh(google.auth.transport.requests.Request())
        return self._credentials.token, self._credentials.expiry.timestamp()

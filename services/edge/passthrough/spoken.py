"""What a target speaks, and which model a request to it is for: as far as its address tells.
Pure.
"""

import functools
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from services.edge.usage.native import READERS
from shared.config import providers


class Spoken(NamedTuple):
    wire: str = ""
    """One of usage.native.READERS; empty: nothing that we could read."""
    provider: str = ""
    """LiteLLM's name: whose prices count. Empty: somebody's own server, whose prices nobody
    knows.
    """


UNKNOWN = Spoken()
_HOSTS = (
    (re.compile(r"(^|\.)(openai\.azure\.com|cognitiveservices\.azure\.com)$"), Spoken("openai", "azure")),
    (re.compile(r"^bedrock-runtime[.-].*amazonaws\.com(\.cn)?$"), Spoken("bedrock", "bedrock")),
    (re.compile(r"(^|-)aiplatform\.googleapis\.com$"), Spoken("gemini", "vertex_ai")),
    (re.compile(r"^generativelanguage\.googleapis\.com$"), Spoken("gemini", "gemini")),
)
_PATHS = (
    (re.compile(r"/(messages|complete)$|/publishers/anthropic/"), "anthropic"),
    (re.compile(r":(stream)?(generateContent|rawPredict)$", re.IGNORECASE), "gemini"),
    (re.compile(r"/model/[^/]+/(converse|converse-stream|invoke|invoke-with-response-stream)$"), "bedrock"),
    (re.compile(r"/(chat/completions|completions|embeddings|responses|moderations)$"), "openai"),
)
_MODELS = (
    re.compile(r"/models/([^/:]+):[A-Za-z]+$"),
    re.compile(r"/model/([^/]+)/[a-z-]+$"),
    re.compile(r"/deployments/([^/]+)/"),
)
_FREE = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


@functools.cache
def _of_host(host: str) -> Spoken:
    for pattern, spoken in _HOSTS:
        if pattern.search(host):
            return spoken
    for name, row in providers.PROVIDERS.items():
        if row.api_base and urlsplit(row.api_base).hostname == host:
            return Spoken(row.wire if row.wire in READERS else "", name)
    return UNKNOWN


def of(url: str) -> Spoken:
    """Of a request's address. Of a server nobody knows by name, the path tells the wire."""
    parts = urlsplit(url)
    wire, provider = _of_host(parts.hostname or "") if len(parts.netloc) < 255 else UNKNOWN
    path = next((name for pattern, name in _PATHS if pattern.search(parts.path)), "")
    if wire == "bedrock" and "/invoke" in parts.path and "anthropic" in parts.path:
        return Spoken("anthropic", provider)
    if provider == "vertex_ai" and path == "anthropic":
        return Spoken("anthropic", provider)
    return Spoken(wire or path, provider)


def model_in(url: str) -> str:
    """Google's, Amazon's and Azure's paths name it; empty: it doesn't."""
    path = urlsplit(url).path
    found = next((hit[1] for pattern in _MODELS if (hit := pattern.search(path))), "")
    return unquote(found)[:256]


def is_free(method: str, spoken: Spoken) -> bool:
    """Whether a call costs nothing: looking, and taking away, at a provider we know."""
    return bool(spoken.provider) and method in _FREE

"""Logs: one JSON object a line on stderr. No line a request: the fact is the record.

Ours go before LiteLLM's names, and both before the file's (`litellm_settings.set_verbose`,
`json_logs`):

    TOLLGATE_LOG_LEVEL, LITELLM_LOG   debug, info, warning, error
    TOLLGATE_LOG_FORMAT, JSON_LOGS    json, console
    TOLLGATE_LOG_FILE                 a file that lines are appended to, instead of stderr
    TOLLGATE_DETAILED_DEBUG           what LiteLLM's --detailed_debug shows: what guardrails found, and requests as providers get them,
                                      credentials masked. Prompts are in it: off unless said, and
                                      said again at start.
"""  # noqa: W505

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, cast

import msgspec
import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 40}
LEVEL_VARIABLES = ("TOLLGATE_LOG_LEVEL", "LITELLM_LOG")
FORMATS = ("json", "console")

_service = ""
_detailed = False


class _Followed(Protocol):
    """What is read of a configuration."""

    @property
    def litellm(self) -> Any: ...
    @property
    def general(self) -> Any: ...
    @property
    def router(self) -> Any: ...


def configure(service: str, environ: Mapping[str, str] | None = None) -> None:
    """As the environment says. Third-party loggers come through as warnings and above."""
    _configure(service, os.environ if environ is None else environ)


def follow(config: _Followed) -> None:
    """What the file says of logs, where the environment doesn't."""
    if not _service:  # a command, or a test: nobody configured logs
        return
    verbose = config.litellm.set_verbose or config.router.set_verbose
    level = "debug" if verbose else str(config.litellm.log_level or "").lower()
    level = level if level in LEVELS else ""
    json_logs = config.litellm.json_logs if config.litellm.json_logs is not None else config.general.json_logs
    if level or json_logs is False:
        form = "console" if json_logs is False else "json"
        _configure(_service, os.environ, level=level or "info", form=form)


def detailed() -> bool:
    """Whether the operator asked for LiteLLM's `--detailed_debug`."""
    return _detailed


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers to be shown: of a credential the first characters, no more than LiteLLM shows."""
    return {name: _masked(value) if _CREDENTIAL.search(name) else value for name, value in headers.items()}


_CREDENTIAL = re.compile(r"authorization|key|token|secret|cookie|credential", re.IGNORECASE)


def _masked(value: str) -> str:
    scheme, blank, rest = value.rpartition(" ")
    shown = min(4, len(rest) // 4)
    return f"{scheme}{blank}{rest[:shown]}{'*' * 16}"


def _configure(service: str, environ: Mapping[str, str], *, level: str = "info", form: str = "json") -> None:
    global _service, _detailed
    _service, _detailed = service, _yes(environ.get("TOLLGATE_DETAILED_DEBUG", ""))
    said = next(
        (environ[name].lower() for name in LEVEL_VARIABLES if environ.get(name)), "debug" if _detailed else level
    )
    chosen = environ.get("TOLLGATE_LOG_FORMAT", "").lower() or ("json" if _yes(environ.get("JSON_LOGS", "")) else form)
    render: Any = structlog.processors.JSONRenderer(serializer=_serialize)
    if chosen == "console":
        render = _Console()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS.get(said, 20)),
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, _Out(environ.get("TOLLGATE_LOG_FILE", "")))),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)
    if _detailed:
        structlog.get_logger().warning("detailed_debug_is_on", detail="prompts and answers appear in this log")


def _yes(word: str) -> bool:
    return word.strip().lower() in ("1", "true", "yes")


class _Console:
    """For people at a terminal: `time level event key=value ...`."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)

    def __call__(self, logger: Any, name: str, event: Any) -> bytes:
        return self._render(logger, name, event).encode("utf-8", "replace")


class _Out:
    """A line that can't be written (the disk is full, its reader is gone) is dropped: what is said
    must never stop what is done.
    """

    def __init__(self, path: str) -> None:
        self._fd = 2
        if path:
            with suppress(OSError):
                self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(self._fd, line)

    def flush(self) -> None:
        """Nothing is kept back."""


def _serialize(event: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


class _ToStructlog(logging.Handler):
    """Library records in the same form, their arguments cut: a library doesn't know what is
    secret.
    """

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "detail": record.getMessage()[:300]}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        structlog.get_logger().log(min(record.levelno, 40), "library", **fields)

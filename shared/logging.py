"""Logs: one JSON object a line on stderr. No line a request: the fact is the record."""

import logging
import os
from contextlib import suppress
from typing import Any, BinaryIO, cast

import msgspec
import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(service: str) -> None:
    """Level from TOLLGATE_LOG_LEVEL (default info). Third-party loggers come through as warnings and above."""
    level = LEVELS.get(os.environ.get("TOLLGATE_LOG_LEVEL", "info").lower(), 20)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, _Stderr())),
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)


class _Stderr:
    """A line that can't be written (the disk is full, its reader is gone) is dropped: what is said must never stop what is done."""

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(2, line)

    def flush(self) -> None:
        """Nothing is kept back."""


def _serialize(event: dict[str, Any], **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


class _ToStructlog(logging.Handler):
    """Library records in the same form, their arguments cut: a library doesn't know what is secret."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "detail": record.getMessage()[:300]}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        structlog.get_logger().log(min(record.levelno, 40), "library", **fields)

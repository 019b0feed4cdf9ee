"""OTLP's protobuf wire of spans that `records.span` made as OTLP/JSON, for those who take no other
(Phoenix, MLflow). Pure.

Messages and field numbers:
opentelemetry/proto/{collector/trace/v1/trace_service,trace/v1/trace,common/v1/common}.proto.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

_VARINT, _FIXED64, _BYTES = 0, 1, 2


def request(resource: Mapping[str, str], spans: Iterable[Mapping[str, Any]]) -> bytes:
    """An ExportTraceServiceRequest.

    Args:
        resource: attributes of who sends.
    """
    attributes = b"".join(_message(1, _key_value(name, {"stringValue": value})) for name, value in resource.items())
    scope = _message(1, _text(1, "tollgate")) + b"".join(_message(2, _span(span)) for span in spans)
    return _message(1, _message(1, attributes) + _message(2, scope))


def _span(span: Mapping[str, Any]) -> bytes:
    parent = span.get("parentSpanId")
    return b"".join(
        (
            _message(1, bytes.fromhex(span["traceId"])),
            _message(2, bytes.fromhex(span["spanId"])),
            _message(4, bytes.fromhex(parent)) if parent else b"",
            _text(5, span["name"]),
            _tag(6, _VARINT) + _varint(span["kind"]),
            _tag(7, _FIXED64) + _instant(span["startTimeUnixNano"]),
            _tag(8, _FIXED64) + _instant(span["endTimeUnixNano"]),
            *(_message(9, _key_value(each["key"], each["value"])) for each in span["attributes"]),
            _message(15, _tag(3, _VARINT) + _varint(span["status"]["code"])),
        )
    )


def _instant(unix_ns: str) -> bytes:
    """A row may be of the year 9999; 64 bits end in 2554."""
    return struct.pack("<Q", min(int(unix_ns), 0xFFFF_FFFF_FFFF_FFFF))


def _key_value(key: str, value: Mapping[str, Any]) -> bytes:
    return _text(1, key) + _message(2, _any(value))


def _any(value: Mapping[str, Any]) -> bytes:
    if "intValue" in value:
        return _tag(3, _VARINT) + _varint(int(value["intValue"]))
    if "arrayValue" in value:
        return _message(5, b"".join(_message(1, _any(item)) for item in value["arrayValue"]["values"]))
    return _text(1, value["stringValue"])


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _message(field: int, body: bytes) -> bytes:
    return _tag(field, _BYTES) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _varint(number: int) -> bytes:
    """Negative ones as int64 has them: ten bytes."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)

"""An edge's word for who asks: good for one question, for a minute, with that edge's key; nothing
else is.
"""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import asker
from shared.asker import AskerError, Signer
from shared.requests import DecideRequest

WHO = DecideRequest("ab" * 32, "", credential_shape="sk")
NOW = 1_700_000_000_000
EDGE = Signer("0192-edge")
TOLD = EDGE.sign(WHO, "GET", "/spend/logs?a=b", b"", NOW)


def read(
    told: str = TOLD,
    *,
    key: bytes = EDGE.public_key,
    method: str = "GET",
    target: str = "/spend/logs?a=b",
    body: bytes = b"",
    now_ms: int = NOW,
) -> DecideRequest:
    return asker.read(told, key, method, target, body, now_ms)


def test_who_was_said_is_who_is_read() -> None:
    assert read() == WHO
    assert asker.edge_of(TOLD) == "0192-edge"
    assert read(now_ms=NOW + asker.VALID_MS - 1) == WHO
    assert read(now_ms=NOW - asker.VALID_MS) == WHO, "the edge's clock may be ahead"


def test_it_is_good_for_this_question_and_this_minute_only() -> None:
    for other in (
        lambda: read(method="POST"),
        lambda: read(target="/spend/logs?a=c"),
        lambda: read(target="/audit"),
        lambda: read(body=b"{}"),
        lambda: read(now_ms=NOW + asker.VALID_MS),
        lambda: read(now_ms=NOW - asker.VALID_MS - 1),
        lambda: read(key=Signer("0192-edge").public_key),
        lambda: read(key=b"short"),
        lambda: read(TOLD.replace("0192-edge", "0193-edge")),
    ):
        with pytest.raises(AskerError):
            other()


def test_no_bit_of_it_can_be_changed() -> None:
    edge_id, encoded, signature = TOLD.split(".")
    for part in (encoded, signature):
        data = bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for at in range(len(data)):
            changed = bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :])
            text = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
            with pytest.raises(AskerError):
                read(f"{edge_id}.{text}.{signature}" if part == encoded else f"{edge_id}.{encoded}.{text}")


SIGNED_JUNK = st.binary(max_size=200).map(lambda data: f"e.{base64.urlsafe_b64encode(data).decode()}." + "A" * 86)


@given(st.one_of(st.text(max_size=300), SIGNED_JUNK))
def test_junk_is_refused_with_one_error(told: str) -> None:
    with pytest.raises(AskerError):
        read(told)

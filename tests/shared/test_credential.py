"""Where a client's key is found."""

import pytest

from shared.credential import find


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"authorization": "Bearer sk-1"}, "sk-1"),
        ({"authorization": "bearer sk-1 "}, "sk-1"),
        ({"authorization": "BEARER   sk-1"}, "sk-1"),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": "Bearersk-1 x"}, ""),
        ({"authorization": "Basic sk-1"}, "sk-1"),
        ({"authorization": "sk-1"}, ""),
        (
            {
                "authorization": "AWS4-HMAC-SHA256 Credential=Bearer sk-1/20260101/us-east-1/bedrock/aws4_request, Signature=x"
            },
            "sk-1",
        ),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/x, Signature=x"}, ""),
        ({"authorization": "x Credential=Bearer sk-1/x"}, ""),
        ({"x-litellm-api-key": "Bearer sk-1", "authorization": "Bearer sk-2"}, "sk-1"),
        ({"x-litellm-api-key": " "}, ""),
        ({"api-key": "sk-1"}, "sk-1"),
        ({"x-api-key": "Bearer sk-1"}, "sk-1"),
    ],
)
def test_the_first_place_that_has_one_counts(headers: dict[str, str], found: str | None) -> None:
    assert find(headers.get) == found

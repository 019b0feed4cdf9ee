"""Signatures equal to botocore's."""

import datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs

from services.edge.providers.sigv4 import Credentials, sign
from shared.secrets.value import Secret

NOW = 1_790_000_000


@pytest.mark.parametrize("token", [None, "session"])
@pytest.mark.parametrize(
    "path",
    ["/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse", "/", "/model/arn%3Aaws%3Abedrock%2Fx/converse-stream"],
)
@pytest.mark.parametrize("body", [b"", b'{"a":"\xc3\xa9"}'])
def test_a_signature_is_botocores(token: str | None, path: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    host = "bedrock-runtime.eu-west-1.amazonaws.com"
    request = AWSRequest("POST", f"https://{host}{path}", data=body)
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=None))
    SigV4Auth(Theirs("AKID", "sekret", token), "bedrock", "eu-west-1").add_auth(request)
    credentials = Credentials("AKID", Secret("sekret"), Secret(token) if token else None)
    ours = sign("POST", host, path, body, region="eu-west-1", service="bedrock", credentials=credentials, now_s=NOW)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    assert ours == {name: theirs[name] for name in ours}
    assert set(ours) == set(theirs) & {"authorization", "x-amz-date", "x-amz-security-token"}

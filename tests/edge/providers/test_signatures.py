"""Requests that we sign for AWS ourselves, as they arrive, before a verifier of our own."""

import datetime
from typing import Any

import pytest

from services.edge.providers.sigv4 import Credentials, sign
from shared.secrets.value import Secret
from tests.edge.fakes import Provider, always, response
from tests.edge.test_edge_provider_rows import _edge
from tests.support.sigv4 import why_not

AWS_KEY = "AKIDEXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
THEN = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC)
SCOPE = f"AWS4-HMAC-SHA256 Credential={AWS_KEY}/20150830/us-east-1"
PUBLISHED = {
    "get-vanilla": (
        "GET", "/", "example.amazonaws.com", {}, "service", "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        "POST", "/", "example.amazonaws.com", {}, "service", "host;x-amz-date",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "list-users": (
        "GET", "/?Action=ListUsers&Version=2010-05-08", "iam.amazonaws.com",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, "iam", "content-type;host;x-amz-date",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    ),
}  # fmt: skip
"""Signatures that AWS publishes, in its documentation and its test suite."""


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_verifier_takes_the_signatures_that_aws_publishes_and_no_others(case: str) -> None:
    method, target, host, more, service, names, signature = PUBLISHED[case]
    authorization = f"{SCOPE}/{service}/aws4_request, SignedHeaders={names}, Signature={signature}"
    headers = {"Host": host, "X-Amz-Date": "20150830T123600Z", "Authorization": authorization, **more}

    def judged(**changed: Any) -> str | None:
        asked: dict[str, Any] = {
            "method": method, "target": target, "headers": headers, "body": b"", "secrets": {AWS_KEY: AWS_SECRET}, "now": THEN,
            "region": "us-east-1", "service": service, **changed,
        }  # fmt: skip
        return why_not(**{**asked, "headers": asked["headers"].items()})

    assert judged() is None
    assert judged(now=THEN + datetime.timedelta(minutes=14)) is None
    assert judged(now=THEN + datetime.timedelta(minutes=16)) == "of another time"
    for changed in (
        {"method": "PUT"}, {"target": "/x"}, {"target": target + "?a"}, {"body": b"x"}, {"secrets": {AWS_KEY: "other"}}, {"secrets": {}},
        {"region": "eu-west-1"}, {"service": "sts"}, {"tokens": {AWS_KEY: "t"}}, {"headers": {**headers, "Host": "evil.example"}},
        {"headers": {**headers, "X-Amz-Target": "unsigned"}}, {"headers": {**headers, "X-Amz-Date": "20150830T123601Z"}},
        {"headers": {**headers, "Authorization": authorization.replace(signature[:4], "0000")}}, {"headers": {"Host": host}},
    ):  # fmt: skip
        assert judged(**changed) is not None, changed


@pytest.mark.parametrize("token", [None, "session token"])
@pytest.mark.parametrize("path", ["/", "/a%3Ab/c", "/a b", "/a:b/c", "/%C3%A9/x~y", "/a%2Fb/converse-stream"])
def test_ours_is_right_for_any_path(path: str, token: str | None) -> None:
    credentials = Credentials(AWS_KEY, Secret(AWS_SECRET), Secret(token) if token else None)
    signed = sign(
        "POST",
        "h:1",
        path,
        b"{}",
        region="eu-west-1",
        service="bedrock",
        credentials=credentials,
        now_s=int(THEN.timestamp()),
    )
    found = why_not(
        "POST", path, [("host", "h:1"), *signed.items()], b"{}", {AWS_KEY: AWS_SECRET}, THEN,
        region="eu-west-1", service="bedrock", tokens={AWS_KEY: token} if token else None,
    )  # fmt: skip
    assert found is None


ANSWER = (
    b'{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn",'
    b'"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}'
)


@pytest.mark.parametrize("token", [None, "session"])
@pytest.mark.parametrize("model", ["anthropic.claude-x-v1:0", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x"])
async def test_what_arrives_at_bedrock_is_signed_as_it_is(model: str, token: str | None) -> None:
    async with Provider(always(response(ANSWER))) as provider:
        params = {
            "model": f"bedrock/{model}", "aws_region_name": "eu-west-1", "aws_access_key_id": AWS_KEY, "aws_secret_access_key": AWS_SECRET,
            "aws_bedrock_runtime_endpoint": provider.url[:-3], **({"aws_session_token": token} if token else {}),
        }  # fmt: skip
        async with await _edge([params]) as edge:
            assert (await edge.chat()).status == 200
        (head,), (body,) = provider.heads, provider.bodies
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = [(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)]
    asked: dict[str, Any] = {"region": "eu-west-1", "service": "bedrock", "tokens": {AWS_KEY: token} if token else None}
    now = datetime.datetime.now(datetime.UTC)
    assert why_not(method, target, pairs, body, {AWS_KEY: AWS_SECRET}, now, **asked) is None
    assert why_not(method, target, pairs, body + b" ", {AWS_KEY: AWS_SECRET}, now, **asked) == "another signature"
    assert why_not(method, target, pairs, body, {AWS_KEY: AWS_SECRET + "x"}, now, **asked) == "another signature"

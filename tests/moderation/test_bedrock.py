"""Amazon Bedrock's guardrails; botocore's own model of the API reads what the stand-in says."""

import asyncio
from typing import Any

import pytest

from services.moderation.screen import Screen
from shared.config import ConfigError
from shared.outbound import Outbound
from tests.moderation.remote_kit import StandIn, listed, load, screened

ENVIRON = {"AWS_REGION_NAME": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
PATH = "/guardrail/gr-1/version/DRAFT/apply"


def intervened(*outputs: str, **policies: Any) -> dict[str, Any]:
    texts = [{"text": output} for output in outputs]
    return {"action": "GUARDRAIL_INTERVENED", "outputs": texts, "assessments": [policies], "usage": {}}


BANNED = {"customWords": [{"match": "x", "action": "BLOCKED"}], "managedWordLists": []}
ARMS = {"topics": [{"name": "Arms", "type": "DENY", "action": "BLOCKED"}]}
UNGROUNDED = {"filters": [{"type": "GROUNDING", "threshold": 0.9, "score": 0.1, "action": "BLOCKED"}]}


def pii(action: str, kind: str = "EMAIL") -> dict[str, Any]:
    return {
        "sensitiveInformationPolicy": {
            "piiEntities": [{"type": kind, "match": "a@b.c", "action": action}],
            "regexes": [],
        }
    }


async def test_what_it_anonymizes_is_replaced_and_what_it_blocks_refuses(server: StandIn, outbound: Outbound) -> None:
    screen = listed(
        outbound, ENVIRON, guardrail="bedrock", guardrailIdentifier="gr-1", aws_bedrock_runtime_endpoint=server.url
    )
    said = {
        "write to a@b.c": intervened("write to {EMAIL}", **pii("ANONYMIZED")),
        "my a@b.c": intervened("Sorry.", **pii("BLOCKED")),
        "bombs": intervened("Sorry.", topicPolicy=ARMS),
        "both": intervened("Sorry.", **pii("ANONYMIZED"), wordPolicy=BANNED),
        "made up": intervened("Sorry.", contextualGroundingPolicy=UNGROUNDED),
        "seen": {"action": "NONE", "outputs": [], "assessments": [pii("NONE")], "usage": {}},
        "unsaid": intervened("Sorry."),
        "torn": intervened("a", "b", **pii("ANONYMIZED")),
        "empty": {},
    }
    server.answers[PATH] = lambda asked: said[asked["content"][0]["text"]["text"]]
    verdict = await screened(screen, "seen", "write to a@b.c")
    assert verdict.action == "redact"
    assert [(r.text, r.start, r.end, r.replacement) for r in verdict.redactions] == [(1, 0, 14, "write to {EMAIL}")]
    assert server.asked[0][2]["source"] == "INPUT" and "Signature=" in server.asked[0][1]["authorization"]
    for text in ("my a@b.c", "bombs", "both", "made up", "unsaid"):
        verdict = await screened(screen, "seen", text)
        assert (verdict.action, verdict.message, verdict.status) == ("block", "Violated guardrail policy", 400), text
    for text in ("torn", "empty"):
        assert (await screened(screen, text)).action == "error", text
    await screened(screen, "seen", stage="post_call")
    assert server.asked[-1][2]["source"] == "OUTPUT"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "guardrailIdentifier"),
        ({"guardrailIdentifier": "g", "guardrailVersion": True}, "guardrailVersion"),
        ({"guardrailIdentifier": "g", "aws_role_name": "arn:aws:iam::1:role/r"}, "aws_role_name"),
        ({"guardrailIdentifier": 5}, "guardrailIdentifier"),
    ],
)
def test_what_is_no_guardrail_of_bedrock_is_refused(outbound: Outbound, params: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        listed(outbound, ENVIRON, guardrail="bedrock", **params)
    with pytest.raises(ConfigError, match="AWS_REGION_NAME"):
        listed(outbound, {}, guardrail="bedrock", guardrailIdentifier="g")


async def test_a_dropped_guardrail_s_client_is_closed_after_its_last_question(
    server: StandIn, outbound: Outbound
) -> None:
    params = {"guardrail": "bedrock", "guardrailIdentifier": "gr-1", "aws_bedrock_runtime_endpoint": server.url}
    entry = {"guardrail_name": "g", "litellm_params": params}
    loaded = load(outbound, ENVIRON, guardrails=[entry])
    screen, aws = Screen(loaded), vars(loaded[0].guardrail)["_aws"]
    asked, said = asyncio.Event(), asyncio.Event()

    async def slow(_: Any) -> dict[str, Any]:
        asked.set()
        await said.wait()
        return {"action": "NONE", "outputs": [], "assessments": [], "usage": {}}

    server.answers[PATH] = slow
    running = asyncio.create_task(screened(screen, "seen"))
    await asked.wait()
    client = aws._client
    sessions = client._endpoint.http_session._sessions
    assert sessions
    await screen.replace(load(outbound, ENVIRON, guardrails=[entry]))
    assert sessions and not running.done()
    said.set()
    assert (await running).action == "allow"
    assert aws._client is None and all(session.closed for session in sessions.values())
    assert (await screened(screen, "seen")).action == "allow"  # by the one that took its place
    await screen.replace([])

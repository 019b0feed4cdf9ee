"""GitHub Copilot: where and as whom it is asked; its token from the entry, or from the file that
LiteLLM's sign-in leaves.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from services.edge.providers import copilot
from services.edge.providers.base import CredentialsError, Target
from services.edge.providers.table import build
from shared import config
from shared.config import stored
from shared.config.errors import LeaveOutError
from tests.edge.conftest import Start
from tests.edge.harness import told
from tests.edge.wires_kit import WHOLE, answering

ENTRY = {"model": "github_copilot/gpt-4o"}


def target(environ: dict[str, str], **params: Any) -> Target:
    text = json.dumps({"model_list": [{"model_name": "m", "litellm_params": {**ENTRY, **params}}]})
    loaded = config.parse(text, environ)
    assert not loaded.left_out and not loaded.warnings
    (found,) = build(loaded.deployments, "tollgate", loaded.litellm, environ).values()
    return found


async def block(found: Target, body: Any = None) -> str:
    assert found.credentials is not None
    return (await found.credentials.headers("POST", "/", json.dumps(body or {}).encode())).decode()


async def test_a_call(start: Start) -> None:
    script = answering(json.dumps(WHOLE).encode())
    edge = await start(script, params={**ENTRY, "api_key": "ghu_1", "extra_headers": {"Editor-Version": "vscode/9"}})
    answer = await edge.chat()
    assert answer.status == 200 and json.loads(answer.body)["choices"][0]["message"]["content"] == "Grüße"
    (request, *headers), body = script.asked
    assert request == "POST /v1/chat/completions HTTP/1.1" and body["model"] == "gpt-4o"
    lines = {name.lower(): value for name, value in (line.split(": ", 1) for line in headers if line)}
    assert lines["authorization"] == "Bearer ghu_1" and lines["x-initiator"] == "user"
    assert lines["copilot-integration-id"] == "vscode-chat" and lines["editor-version"] == "vscode/9"
    _, settled = await told(edge)
    assert (settled.usage.input_tokens, settled.usage.output_tokens) == (3, 4)


async def test_the_token_lies_where_litellm_keeps_it_and_may_come_later(tmp_path: Path) -> None:
    found = target({"GITHUB_COPILOT_TOKEN_DIR": str(tmp_path)})
    assert found.origin is not None and found.origin.authority == "api.githubcopilot.com" and found.base_path == ""
    with pytest.raises(CredentialsError, match="token file gave no token"):
        await block(found)
    (tmp_path / "access-token").write_text("gho_two lines\nx")
    with pytest.raises(CredentialsError):
        await block(found)
    (tmp_path / "access-token").write_text("gho_1\n")
    assert (await block(found)).startswith("authorization: Bearer gho_1\r\n")
    other = target({"GITHUB_COPILOT_TOKEN_DIR": str(tmp_path), "GITHUB_COPILOT_ACCESS_TOKEN_FILE": "mine"})
    (tmp_path / "mine").write_text("gho_2")
    assert "gho_2" in await block(other)


IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]


@pytest.mark.parametrize(
    ("body", "initiator", "looks"),
    [
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}, "user", False),
        ({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": None}]}, "agent", False),
        ({"messages": [{"role": "tool", "content": "r", "tool_call_id": "1"}]}, "agent", False),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "user", True),
        ({"messages": [{"role": "user", "content": 'about "image_url"'}]}, "user", False),
        ({"input": "hello"}, "user", False),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "agent", False),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "user", True),
        ({"input": ["a", "b"]}, "user", False),
        ([], "user", False),
    ],
)
def test_who_goes_on(body: Any, initiator: str, looks: bool) -> None:
    said = copilot.about(json.dumps(body).encode()).decode()
    assert f"x-initiator: {initiator}\r\n" in said and ("copilot-vision-request: true" in said) is looks


def test_a_model_added_by_api_cant_have_this_machines_token_sent_elsewhere() -> None:
    params = {**ENTRY, "api_base": "https://evil.example"}
    loaded = config.parse(json.dumps({"model_list": [{"model_name": "m", "litellm_params": params}]}), {})
    with pytest.raises(LeaveOutError, match="machine's own credential"):
        stored.check(loaded.deployments[0])

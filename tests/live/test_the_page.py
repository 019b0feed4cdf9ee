"""The page from top to bottom: each command, configuration and script as it is printed, and each
answer that is printed, body for body.

Where the page's examples stand beside these, in the order of the page:

    audit log, robots, demanded parameters (of a key and of the file)  here
    public, admin-only and allowed routes                              test_page_access
    tags and metadata: curl, OpenAI's client                           here
    the same: LangChain, Node, a real model and its prices             test_page_examples
    /spend/tags, /spend/logs                                           here
    hide_secrets, by key                                               here
    LLM Guard: for all, and what is found                              test_llm_guard
    LLM Guard: by key, by request, its line in the log                 here
    Llama Guard with its categories                                    moderation/test_llamaguard
    Google's thresholds                                                moderation/test_remote_...
    Swagger, blocked users, banned keywords, model hub                 here
    AWS KMS                                                            test_secrets_kms
    the largest request, and its alert                                 here, edge/test_edge_sizes
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tests.live.conftest import MASTER, eventually, new_key
from tests.live.page_examples import EXAMPLES
from tests.live.page_kit import Page, has_form, script, shell
from tests.support.serving import handled_by, serving
from tests.support.suite import RunningSuite
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with AsyncExitStack() as stack:
        made = Page(await stack.enter_async_context(FakeUpstream()))
        guard = await stack.enter_async_context(serving(handled_by(made.guard, "POST", "/analyze/prompt")))
        slack = await stack.enter_async_context(serving(handled_by(made.slack)))
        env = {
            "LLM_GUARD_API_BASE": guard,
            "SLACK_WEBHOOK_URL": slack,
            "LITELLM_LOG": "DEBUG",
            "DOCS_TITLE": "TotalGPT",
            "DOCS_DESCRIPTION": "Sample Company Description",
            "DOCS_FILTERED": "True",
        }
        for name in ("keyed", "open"):
            directory = tmp_path_factory.mktemp(name)
            (directory / "blocked_list.txt").write_text("user_id_1\n")
            suite = RunningSuite(directory, made.text(name), env=env)
            made.suites[name] = await stack.enter_async_context(suite)
        made.suites |= dict.fromkeys(("demanding", "small"), made.suites["keyed"])
        yield made


def of(*sections: str) -> list[str]:
    return [name for name, each in EXAMPLES.items() if each.suite in sections]


async def as_printed(page: Page, http: aiohttp.ClientSession, name: str) -> None:
    each = EXAMPLES[name]
    suite = page.at(each.suite)
    names = {} if each.key is None else {"key": await new_key(http, suite, **each.key)}

    async def answered() -> tuple[int, bytes]:
        return await shell(suite.edge_url, each.printed, **names)

    def is_printed(found: tuple[int, bytes]) -> bool:
        status, body = found
        right = body == each.body if isinstance(each.body, bytes) else each.body(body)
        return status == each.status and right

    await eventually(answered, is_printed)


@pytest.mark.parametrize("name", of("keyed", "open"))
async def test_an_example_as_printed(page: Page, http: aiohttp.ClientSession, name: str) -> None:
    await as_printed(page, http, name)


async def test_the_audit_log_of_a_new_team(page: Page, http: aiohttp.ClientSession) -> None:
    suite = page.at("keyed")
    status, body = await shell(
        suite.edge_url,
        """curl --location 'http://0.0.0.0:4000/team/new' \\
--header 'Authorization: Bearer sk-1234' \\
--header 'Content-Type: application/json' \\
--data '{
"max_budget": 2
}'""",
    )
    assert status == 200, body
    team_id = json.loads(body)["team_id"]

    async def ask() -> list[dict[str, Any]]:
        async with http.get(suite.edge_url + "/audit", params={"object_id": team_id}, headers=MASTER) as answer:
            return list((await answer.json())["audit_logs"])

    (entry,) = await eventually(ask, lambda found: len(found) == 1)
    printed = {
        "id": "e1760e10-4264-4499-82cd-c08c86c8d05b",
        "updated_at": "2024-06-06T02:10:40.836420+00:00",
        "changed_by": "109010464461339474872",
        "action": "created",
        "table_name": "LiteLLM_TeamTable",
        "object_id": "82e725b5-053f-459d-9a52-867191635446",
        "before_value": None,
        "updated_values": {
            "team_id": "82e725b5-053f-459d-9a52-867191635446",
            "admins": [],
            "members": [],
            "members_with_roles": [{"role": "admin", "user_id": "109010464461339474872"}],
            "max_budget": 2.0,
            "models": [],
            "blocked": False,
        },
    }
    assert has_form(entry, printed)
    assert (entry["action"], entry["table_name"], entry["object_id"]) == ("created", "LiteLLM_TeamTable", team_id)
    assert entry["before_value"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", entry["updated_at"])
    values = entry["updated_values"]
    wanted = {**printed["updated_values"], "team_id": team_id}
    wanted["members_with_roles"] = [{"role": "admin", "user_id": entry["changed_by"]}]
    assert {name: values[name] for name in wanted} == wanted


OPENAI = """
import openai
client = openai.OpenAI(
    api_key="anything",
    base_url="http://0.0.0.0:4000"
)
response = client.chat.completions.create(
    model="gpt-3.5-turbo",
    messages = [
        {
            "role": "user",
            "content": "this is a test request, write a short poem"
        }
    ],
    %s
)
print(response)
"""


async def test_tags_and_metadata_by_the_openai_client_and_where_they_are_seen(
    page: Page, http: aiohttp.ClientSession
) -> None:
    url, keyed = page.at("keyed").edge_url, OPENAI.replace("anything", "sk-1234")
    tags = 'extra_body={"metadata": {"tags": ["model-anthropic-claude-v2.1-page", "app-ishaan-prod-page"]}}'
    answers = [await script(url, keyed % tags) for _ in range(2)]
    with_metadata = await script(url, keyed % 'extra_body={"metadata": {"spend_logs_metadata": {"hello": "world"}}}')

    async def asked(printed: str) -> Any:
        status, body = await shell(url, printed)
        assert status == 200, body
        return json.loads(body)

    tags_asked = 'curl -X GET "http://0.0.0.0:4000/spend/tags" \\\n-H "Authorization: Bearer sk-1234"'
    spent = sum(4e-6 * each.usage.prompt_tokens + 8e-6 * each.usage.completion_tokens for each in answers)
    wanted = [
        {"individual_request_tag": tag, "log_count": 2, "total_spend": pytest.approx(spent, rel=1e-9)}
        for tag in ("app-ishaan-prod-page", "model-anthropic-claude-v2.1-page")
    ]

    async def rows() -> Any:
        found = [row for row in await asked(tags_asked) if row["individual_request_tag"].endswith("-page")]
        return sorted(found, key=lambda row: str(row["individual_request_tag"]))

    await eventually(rows, wanted)
    logs_asked = (
        f'curl -X GET "http://0.0.0.0:4000/spend/logs?request_id={with_metadata.id}" \\\n'
        '-H "Authorization: Bearer sk-1234"'
    )
    (row,) = await eventually(lambda: asked(logs_asked), lambda found: len(found) == 1)
    assert has_form(
        row,
        {
            "request_id": "chatcmpl-9ZKMURhVYSi9D6r6PJ9vLcayIK0Vm",
            "call_type": "acompletion",
            "metadata": {
                "user_api_key": None,
                "user_api_key_alias": None,
                "spend_logs_metadata": {"hello": "world"},
                "user_api_key_team_id": None,
                "user_api_key_user_id": None,
                "user_api_key_team_alias": None,
            },
        },
    )
    assert (row["request_id"], row["call_type"]) == (with_metadata.id, "acompletion")
    assert row["metadata"]["spend_logs_metadata"] == {"hello": "world"}


async def test_secrets_are_redacted_for_all_but_a_keys(page: Page, http: aiohttp.ClientSession) -> None:
    suite = page.at("keyed")
    printed = """curl --location 'http://localhost:4000/chat/completions' \\
--header 'Authorization: Bearer <key>' \\
--header 'Content-Type: application/json' \\
--data '{
"model": "llama3",
"messages": [
{
"role": "user",
"content": "%s"
}
]
}'"""
    value = "what is the value of my open ai key? openai_api_key=sk-1234998222"
    formatted = "does my openai key look well formatted OpenAI_API_KEY=sk-1234777"
    for said, goes_on in (
        (value, "what is the value of my open ai key? openai_api_key=[REDACTED]"),
        ("Hey, how's it going, API_KEY = 'sk_1234567890abcdef'", "Hey, how's it going, API_KEY = '[REDACTED]'"),
    ):
        quoted = said.replace("'", "'\\''")
        status, body = await shell(suite.edge_url, printed % quoted, key="sk-1234")
        assert status == 200, body
        sent = page.provider.requests[-1].json
        assert (sent["model"], sent["messages"]) == ("llama3", [{"role": "user", "content": goes_on}])
    assert "Detected and redacted secrets in message: ['Secret Keyword']" in suite.log()
    assert "1234998222" not in suite.log()
    off = await new_key(http, suite, permissions={"hide_secrets": False})
    status, body = await shell(suite.edge_url, printed % formatted, key=off)
    assert status == 200, body
    assert page.provider.requests[-1].json["messages"][0]["content"] == formatted


async def test_llm_guard_by_key(page: Page) -> None:
    suite = page.at("keyed")
    status, body = await shell(
        suite.edge_url,
        """curl --location 'http://localhost:4000/key/generate' \\
--header 'Authorization: Bearer sk-1234' \\
--header 'Content-Type: application/json' \\
--data '{
"models": ["fake-openai-endpoint"],
"permissions": {
"enable_llm_guard_check": true
}
}'""",
    )
    assert status == 200, body
    printed = """curl --location 'http://0.0.0.0:4000/v1/chat/completions' \\
--header 'Content-Type: application/json' \\
--header 'Authorization: Bearer <key>' \\
--data '{"model": "fake-openai-endpoint", "messages": [
{"role": "system", "content": "Be helpful"},
{"role": "user", "content": "What do you know?"}
]
}'"""
    page.asked_guard.clear()
    status, _ = await shell(suite.edge_url, printed, key="sk-1234")
    assert (status, page.asked_guard) == (200, [])
    status, _ = await shell(suite.edge_url, printed, key=json.loads(body)["key"])
    assert status == 200 and "What do you know?" in "\n".join(page.asked_guard)
    assert "LLM Guard: Received response - " in suite.log()
    assert '"is_valid": true' in suite.log().replace("True", "true").replace("'", '"')


async def test_llm_guard_by_request(page: Page) -> None:
    url = page.at("open").edge_url
    page.asked_guard.clear()
    await script(url, OPENAI % "")
    assert page.asked_guard == []
    await script(url, OPENAI % 'extra_body={"metadata": {"permissions": {"enable_llm_guard_check": True}}}')
    assert page.asked_guard == ["this is a test request, write a short poem"]


async def test_a_blocked_user_by_the_openai_client(page: Page) -> None:
    with pytest.raises(openai.BadRequestError, match=r"User blocked from making LLM API Calls\. User=user_id_1"):
        await script(page.at("keyed").edge_url, OPENAI.replace("anything", "sk-1234") % 'user="user_id_1"')


async def test_swagger_as_the_company_has_it_and_the_hub(page: Page, http: aiohttp.ClientSession) -> None:
    url = page.at("keyed").edge_url
    async with http.get(url + "/docs") as answer:
        assert answer.status == 200 and "TotalGPT" in await answer.text()
    async with http.get(url + "/openapi.json") as answer:
        document = await answer.json()
    assert document["info"]["title"] == "TotalGPT"
    assert document["info"]["description"] == "Sample Company Description"
    assert "/chat/completions" in document["paths"]
    assert not [path for path in document["paths"] if path.startswith(("/key/", "/team/", "/user/", "/spend/"))]
    async with http.get(url + "/public/model_hub") as answer:
        assert [row["model_group"] for row in await answer.json()] == ["gpt-4"]
    async with http.get(url + "/ui/model_hub") as answer:
        assert answer.status == 200 and "gpt-4" in await answer.text()


@pytest.mark.parametrize("name", of("demanding", "small"))
async def test_an_example_of_another_section(page: Page, http: aiohttp.ClientSession, name: str) -> None:
    """After the others: the gateway reads its file again."""
    await as_printed(page, http, name)


async def test_the_largest_request_was_told_to_slack(page: Page) -> None:
    async def told() -> bool:
        return any("Max size is 1e-09 MB" in json.dumps(each) for each in page.alerts)

    await eventually(told, True)

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

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
import pytest_asyncio
from aiohttp import web

from tests.live.conftest import MASTER, eventually, new_key
from tests.support.serving import handled_by, serving
from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODELS = ("gpt-3.5-turbo", "gpt-4", "llama3", "fake-openai-endpoint")

KEYED = """
litellm_settings:
  store_audit_logs: true
  callbacks: ["hide_secrets", "blocked_user_check", "llmguard_moderations"]
  llm_guard_mode: "key-specific"
  blocked_user_list: ["user_id_1", "user_id_2"]
  public_model_groups: ["gpt-4"]
general_settings:
  master_key: sk-1234
  block_robots: true
  alerting: ["slack"] # where alerts go is said at a start
"""
DEMANDING = """
general_settings:
  master_key: sk-1234
  enforced_params:
  - user
  - metadata.generation_name
"""
OPEN = """
litellm_settings:
  callbacks: ["blocked_user_check", "banned_keywords", "llmguard_moderations"]
  llm_guard_mode: "request-specific"
  blocked_user_list: blocked_list.txt
  banned_keywords_list: ["hello"] # can also be a .txt file - e.g.: `/relative/path/keywords.txt`
general_settings:
  allow_open_gateway: true
"""
SMALL = """
model_list:
- model_name: fake-openai-endpoint
  litellm_params:
    model: openai/fake
    api_key: fake-key
    api_base: https://exampleopenaiendpoint-production.up.railway.app/
general_settings:
  master_key: sk-1234
  # Security controls
  max_request_size_mb: 0.000000001 # 👈 Key Change - Max Request Size in MB. Set this very low for testing
  max_response_size_mb: 100 # 👈 Key Change - Max Response Size in MB
  alerting: ["slack"]
"""


SECTIONS = {"keyed": KEYED, "open": OPEN, "demanding": DEMANDING, "small": SMALL}


class Page:
    """Gateways before one provider, configured as the page does, one section after the other."""

    def __init__(self, provider: FakeUpstream) -> None:
        self.provider = provider
        # No keyword that is banned here: what a model says is looked through too.
        provider.behaviours = {name: Behaviour(text="How can I assist you today?") for name in MODELS}
        self.suites: dict[str, RunningSuite] = {}
        """By section; those that share a gateway take turns in its file, which it reads again."""
        self.asked_guard: list[str] = []
        self.alerts: list[dict[str, Any]] = []

    def at(self, section: str) -> RunningSuite:
        """The gateway with this section in force, or about to be."""
        suite = self.suites[section]
        text = self.text(section)
        if suite.config_path.read_text() != text:
            suite.config_path.write_text(text)
        return suite

    def text(self, section: str) -> str:
        text = SECTIONS[section]
        return text if "model_list" in text else self.models() + text

    def models(self) -> str:
        rows = [
            f"  - {{model_name: {name}, litellm_params: {{model: openai/{name}, api_key: k,"
            f' api_base: "{self.provider.base_url}", input_cost_per_token: 0.000004, output_cost_per_token: 0.000008}}}}'
            for name in MODELS
        ]
        return "\n".join(["model_list:", *rows])

    async def guard(self, request: web.Request) -> web.Response:
        """As the real LLM Guard was recorded."""
        prompt = (await request.json())["prompt"]
        self.asked_guard.append(prompt)
        return web.json_response({"is_valid": True, "scanners": {"Regex": 0.0}, "sanitized_prompt": prompt})

    async def slack(self, request: web.Request) -> web.Response:
        self.alerts.append(await request.json())
        return web.Response(text="ok")


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


async def shell(url: str, printed: str, **names: str) -> tuple[int, bytes]:
    """(status, body) of a printed command at a gateway; `names`: what stands for a printed key."""
    for host in ("http://0.0.0.0:4000", "http://localhost:4000"):
        printed = printed.replace(host, url)
    for name, value in names.items():
        printed = printed.replace(f"<{name}>", value)
    quiet = "curl() { command curl -sS --max-time 30 -w '\\n%{http_code}' \"$@\"; }\n"
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", quiet + printed], capture_output=True, check=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


async def script(url: str, printed: str) -> Any:
    """Run a printed script of OpenAI's client; gives its `response`."""
    names: dict[str, Any] = {}
    code = printed.replace("http://0.0.0.0:4000", url).replace("print(response)", "")
    await asyncio.to_thread(exec, code, names)
    return names["response"]


def has_form(found: Any, printed: Any) -> bool:
    """Whether everything printed is there, of the same JSON type; of lists the first stands for
    all. Printed nulls may be anything.
    """
    if printed is None:
        return True
    if isinstance(printed, dict):
        return isinstance(found, dict) and all(
            name in found and has_form(found[name], value) for name, value in printed.items()
        )
    if isinstance(printed, list):
        return isinstance(found, list) and all(has_form(each, printed[0]) for each in found if printed)
    return isinstance(found, float | int if isinstance(printed, float) else type(printed))


def answer_of(**fields: Any) -> Callable[[bytes], bool]:
    """The body is this form, and these are its printed values."""
    return lambda body: has_form(json.loads(body), fields)


def auth_error(param: str) -> bytes:
    """As printed, to the byte."""
    message = f"Authentication Error, BadRequest please pass param={param} in request body. This is a required param"
    return f'{{"error":{{"message":"{message}","type":"auth_error","param":"None","code":401}}}}'.encode()


class Example(msgspec.Struct, kw_only=True):
    suite: str
    printed: str
    status: int = 200
    body: bytes | Callable[[bytes], bool]
    key: dict[str, Any] | None = None
    """What the printed key `<key>` was made with; None: the command names none."""


HI = """curl --location 'http://localhost:4000/chat/completions' \\
--header 'Authorization: Bearer <key>' \\
--header 'Content-Type: application/json' \\
--data '{
"model": "gpt-3.5-turbo",%s
"messages": [
{
"role": "user",
"content": "hi"
}
]%s
}'"""
NO_USER = HI % ("", "")
NO_NAME = HI % ('\n"user": "gm",', ',\n"metadata": {}')
COMPLETE = HI % ('\n"user": "gm",', ',\n"metadata": {"generation_name": "prod-app"}')
CHAT_FORM = answer_of(
    id="chatcmpl-9XALnHqkCBMBKrOx7Abg0hURHqYtY",
    choices=[
        {
            "finish_reason": "stop",
            "index": 0,
            "message": {"content": "Hello! How can I assist you today?", "role": "assistant"},
        }
    ],
    created=1717691639,
    model="gpt-3.5-turbo-0125",
    object="chat.completion",
    system_fingerprint=None,
    usage={"completion_tokens": 9, "prompt_tokens": 8, "total_tokens": 17},
)
DEMANDS = {"enforced_params": ["user", "metadata.generation_name"]}
KEY_GENERATE = """curl -L -X POST 'http://0.0.0.0:4000/key/generate' \\
-H 'Authorization: Bearer sk-1234' \\
-H 'Content-Type: application/json' \\
-d '%s
'"""
TEAM_NEW = KEY_GENERATE.replace("/key/generate", "/team/new")
TAGS = '{\n"metadata": {\n"tags": ["tag1", "tag2", "tag3"]\n}\n}'
SPEND_METADATA = '{\n"metadata": {\n"spend_logs_metadata": {\n"hello": "world"\n}\n}\n}'
TAGS_FORM = {"metadata": {"tags": ["tag1", "tag2", "tag3"]}}
SPEND_FORM = {"metadata": {"spend_logs_metadata": {"hello": "world"}}}
WHAT_LLM = """curl --location 'http://0.0.0.0:4000/chat/completions' \\
--header 'Content-Type: application/json' \\
--data ' {
"model": "gpt-3.5-turbo",
"messages": [
{
"role": "user",
"content": "%s"
}
]%s
}
'"""


def says(**values: Any) -> Callable[[bytes], bool]:
    """The printed values are in the answer."""
    return lambda body: values.items() <= json.loads(body).items()


def same_metadata(body: bytes, wanted: dict[str, Any]) -> bool:
    return bool(json.loads(body)["metadata"] == wanted["metadata"])


EXAMPLES: dict[str, Example] = {
    "robots": Example(
        suite="keyed", printed="curl http://localhost:4000/robots.txt", body=b"User-agent: *\nDisallow: /"
    ),
    "no robots": Example(suite="open", printed="curl http://localhost:4000/robots.txt", status=404, body=b""),
    # ── demanded parameters, by configuration and by key ──
    "a demanding key": Example(
        suite="keyed",
        printed=KEY_GENERATE % '{\n"enforced_params": ["user", "metadata.generation_name"]\n}',
        body=lambda body: json.loads(body)["key"].startswith("sk-"),
    ),
    **{
        f"{name}, {suite}": Example(suite=suite, printed=printed, status=status, body=body, key=key)
        for suite, key in (("keyed", DEMANDS), ("demanding", {}))
        for name, printed, status, body in (
            ("no user", NO_USER, 401, auth_error("user")),
            ("no metadata", NO_NAME, 401, auth_error("[metadata][generation_name]")),
            ("a complete request", COMPLETE, 200, CHAT_FORM),
        )
    },
    # ── tags and metadata ──
    "a key's tags": Example(
        suite="keyed", printed=KEY_GENERATE % TAGS, body=lambda body: same_metadata(body, TAGS_FORM)
    ),
    "a team's tags": Example(suite="keyed", printed=TEAM_NEW % TAGS, body=lambda body: same_metadata(body, TAGS_FORM)),
    "a request's tags": Example(
        suite="open",
        printed=WHAT_LLM
        % ("what llm are you", ',\n"metadata": {"tags": ["model-anthropic-claude-v2.1", "app-ishaan-prod"]}'),
        body=CHAT_FORM,
    ),
    "a key's metadata": Example(
        suite="keyed", printed=KEY_GENERATE % SPEND_METADATA, body=lambda body: same_metadata(body, SPEND_FORM)
    ),
    "a team's metadata": Example(
        suite="keyed", printed=TEAM_NEW % SPEND_METADATA, body=lambda body: same_metadata(body, SPEND_FORM)
    ),
    "a request's metadata": Example(
        suite="open",
        printed=WHAT_LLM % ("what llm are you", ',\n"metadata": {\n"spend_logs_metadata": {\n"hello": "world"\n}\n}'),
        body=CHAT_FORM,
    ),
    # ── secrets ──
    "a key without hide_secrets": Example(
        suite="keyed",
        printed="""curl --location 'http://0.0.0.0:4000/key/generate' \\
--header 'Authorization: Bearer sk-1234' \\
--header 'Content-Type: application/json' \\
--data '{
"permissions": {"hide_secrets": false}
}'""",
        body=says(permissions={"hide_secrets": False}),
    ),
    "a key that loses hide_secrets": Example(
        suite="keyed",
        key={},
        printed="""curl --location 'http://0.0.0.0:4000/key/update' \\
--header 'Authorization: Bearer sk-1234' \\
--header 'Content-Type: application/json' \\
--data '{
"key": "<key>",
"permissions": {"hide_secrets": false}
}'""",
        body=says(permissions={"hide_secrets": False}),
    ),
    # ── who may not call, what may not be said ──
    "a blocked user": Example(
        suite="open",
        printed=WHAT_LLM % ("what llm are you", ',\n"user": "user_id_1"'),
        status=400,
        body=lambda body: "User=user_id_1" in json.loads(body)["error"]["message"],
    ),
    "a banned keyword": Example(
        suite="open",
        printed=WHAT_LLM % ("Hello world!", ""),
        status=400,
        body=lambda body: json.loads(body)["error"]["message"] == "Keyword banned. Keyword=hello",
    ),
    "a customer is blocked": Example(
        suite="keyed",
        printed="""curl -X POST "http://0.0.0.0:4000/customer/block" \\
-H "Authorization: Bearer sk-1234" \\
-d '{
"user_ids": ["page-customer"]
}'""",
        body=lambda body: [row["user_id"] for row in json.loads(body)["blocked_users"]] == ["page-customer"],
    ),
    "and unblocked": Example(
        suite="keyed",
        printed="""curl -X POST "http://0.0.0.0:4000/user/unblock" \\
-H "Authorization: Bearer sk-1234" \\
-d '{
"user_ids": ["page-customer"]
}'""",
        body=lambda body: "page-customer" not in json.loads(body)["blocked_users"],
    ),
    "printed with -D, it is a file's name: nothing was sent": Example(
        suite="keyed",
        printed="""cd "$(mktemp -d)" && curl -X POST "http://0.0.0.0:4000/customer/block" \\
-H "Authorization: Bearer sk-1234" \\
-D '{"user_ids": ["page-customer"]}'""",
        status=400,
        body=lambda body: json.loads(body)["error"]["param"] == "user_ids",
    ),
    # ── the largest request ──
    "a request that is too large": Example(
        suite="small",
        printed="""curl http://localhost:4000/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer sk-1234" \\
-d '{
    "model": "fake-openai-endpoint",
    "messages": [
      {"role": "user", "content": "Hello, Claude!"}
    ]
  }'""",
        status=400,
        body=b'{"error":{"message":"Request size is too large. Request size is 0.0001125335693359375 MB.'
        b' Max size is 1e-09 MB","type":"bad_request_error","param":"content-length","code":400}}',
    ),
}


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

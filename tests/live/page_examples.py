"""The page's commands with one answer each, as they are printed."""

import json

from tests.live.page_kit import Example, answer_of, auth_error, same_metadata, says

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

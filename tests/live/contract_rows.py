"""The refusals that LiteLLM's API has a wording for, a row each."""

from typing import Any

import msgspec

from shared.ids import digest_key

HI = [{"role": "user", "content": "hi"}]
CHAT = "/chat/completions"


class Example(msgspec.Struct, kw_only=True):
    path: str
    key: str = "sk-1234"
    """A name of `KEYS`, or the credential."""
    body: Any = None
    method: str = "POST"
    headers: dict[str, str] = {}
    status: int
    message: str
    type: str = "auth_error"
    param: str | None = "None"
    note: str = ""
    """Why our body isn't LiteLLM's."""


CALL = {"model": "m1", "messages": HI}
UNKNOWN = "sk-unknown-0123456789abcdef"
BAD = "invalid_request_error"
NOT_FOUND = "not_found_error"
OWN_WORDING = "LiteLLM echoes a part of the credential; nothing of one is in an answer of ours"
AS_400 = "LiteLLM's framework answers 422 without saying what is wrong in OpenAI's shape"

EXAMPLES: dict[str, Example] = {
    # ── who asks ──
    "no key": Example(path=CHAT, key="", body=CALL, status=401, message="Authentication Error, No api key passed in."),
    "no scheme": Example(
        path=CHAT,
        key="",
        body=CALL,
        headers={"Authorization": "whatever abc"},
        status=401,
        message="Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.",
    ),
    "not ours": Example(
        path=CHAT,
        key="abcdefghijklmnopqrstuvwxyz",
        body=CALL,
        status=401,
        message="Authentication Error, LiteLLM Virtual Key expected. It must start with 'sk-'.",
        note=OWN_WORDING,
    ),
    "unknown": Example(
        path=CHAT,
        key=UNKNOWN,
        body=CALL,
        status=401,
        message="Authentication Error, Invalid proxy server token passed. Unable to find token."
        f" Key Hash (Token)={digest_key(UNKNOWN)}",
        type="token_not_found_in_db",
        param="key",
    ),
    "blocked": Example(
        path=CHAT,
        key="blocked",
        body=CALL,
        status=401,
        message="Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
    ),
    "a blocked team's": Example(
        path=CHAT,
        key="of_blocked_team",
        body=CALL,
        status=401,
        message="Authentication Error, Team=blocked-team is blocked. Update via `/team/unblock` if you're an admin.",
    ),
    # ── what they may do ──
    "another model": Example(
        path=CHAT,
        key="of_m1",
        body={**CALL, "model": "m2"},
        status=403,
        message="The requested model 'm2' is not available for this API key, or the model name is invalid."
        " Check the models available to you and try again.",
        type="key_model_access_denied",
        param="model",
    ),
    "another route": Example(
        path=CHAT,
        key="routed",
        body=CALL,
        status=403,
        message="Virtual key is not allowed to call this route. Only allowed to call routes: ['/models']."
        " Tried to call route: /chat/completions",
    ),
    "another cache control": Example(
        path=CHAT,
        key="cached",
        body={**CALL, "cache": {"no-store": True}},
        status=403,
        message="Not allowed to set no-store as a cache control. Contact admin to change permissions.",
        param="cache.no-store",
    ),
    "an admin's route": Example(
        path="/team/new",
        key="of_a_user",
        body={},
        status=401,
        message="Authentication Error, Only proxy admin can be used to generate, delete, update info for new"
        " keys/users/teams. Route=/team/new. Your role=internal_user.",
        note="LiteLLM adds a part of the user's id",
    ),
    "guardrails": Example(
        path=CHAT,
        key="of_fixed_team",
        body={**CALL, "guardrails": ["x"]},
        status=403,
        message="Your team does not have permission to modify guardrails.",
    ),
    "tags": Example(
        path=CHAT,
        key="plain",
        body={**CALL, "metadata": {"tags": ["x"]}},
        status=400,
        message="Client-side 'metadata.tags' not allowed in request. 'reject_clientside_metadata_tags'=True."
        " Tags can only be set via API key metadata.",
        type="bad_request_error",
        param="metadata.tags",
    ),
    "another's spend": Example(
        path="/spend/users?user_id=other",
        key="of_a_user",
        method="GET",
        status=403,
        message="Not authorized to view spend for another user.",
    ),
    # ── what a request must be ──
    "no such model": Example(
        path=CHAT,
        body={**CALL, "model": "nope"},
        status=400,
        message="/chat/completions: Invalid model name passed in model=nope."
        " Call `/v1/models` to view available models for your key.",
        type=BAD,
        param="model",
    ),
    "no messages": Example(
        path=CHAT,
        body={"model": "m1"},
        status=400,
        message="/chat/completions: Missing required parameter: 'messages'.",
        type=BAD,
        param="messages",
    ),
    "an address": Example(
        path=CHAT,
        key="plain",
        body={**CALL, "api_base": "http://x"},
        status=401,
        message="Authentication Error, Rejected Request: api_base is not allowed in request body",
        param="api_base",
    ),
    "no model to calculate": Example(
        path="/spend/calculate",
        body={},
        status=400,
        message="Bad Request - Either 'model' or 'completion_response' must be provided",
        type="None",
    ),
    "no messages to calculate": Example(
        path="/spend/calculate",
        body={"model": "m1"},
        status=400,
        message="Bad Request - messages must be provided if 'model' is provided",
        type="None",
    ),
    "no days": Example(
        path="/global/spend/report",
        method="GET",
        status=400,
        message="Please provide start_date and end_date",
        type=BAD,
        param="start_date",
    ),
    # ── keys ──
    "a key's form": Example(
        path="/key/generate",
        body={"key": "abcd-0123456789-wxyz"},
        status=400,
        message="Invalid key format. LiteLLM Virtual Key must start with 'sk-'.",
        type=BAD,
        param="key",
        note=OWN_WORDING,
    ),
    "a key's length": Example(
        path="/key/generate",
        body={"key": "sk-short"},
        status=400,
        message="A key must be 16 to 512 characters",
        type=BAD,
        param="key",
    ),
    "an alias twice": Example(
        path="/key/generate",
        body={"key_alias": "taken"},
        status=400,
        message="Key with alias 'taken' already exists. Unique key aliases across all keys are required.",
        type=BAD,
        param="key_alias",
    ),
    "a key for another": Example(
        path="/key/generate",
        key="of_a_user",
        body={"user_id": "other"},
        status=403,
        message="User can only create keys for themselves. Got user_id=other, Your ID=u",
    ),
    "above the bound": Example(
        path="/key/generate",
        body={"max_budget": 1000},
        status=400,
        message="max_budget is over max limit set in config - user_value=1000; max_value=100",
        type=BAD,
        param="max_budget",
    ),
    "no such key": Example(
        path=f"/key/info?key={UNKNOWN}",
        method="GET",
        status=404,
        message="Key not found in database",
        type=NOT_FOUND,
        param="key",
    ),
    "no such key to change": Example(
        path="/key/update", body={"key": UNKNOWN}, status=404, message="Key not found.", type=NOT_FOUND, param="key"
    ),
    "no such key to delete": Example(
        path="/key/delete", body={"keys": [UNKNOWN]}, status=404, message="No keys found", type=NOT_FOUND, param="keys"
    ),
    "no key to delete": Example(
        path="/key/delete",
        body={},
        status=400,
        message="keys or key_aliases must name at least one key",
        type=BAD,
        param="keys",
        note=AS_400,
    ),
    # ── teams, users, customers, addresses ──
    "a team twice": Example(
        path="/team/new",
        body={"team_id": "blocked-team"},
        status=400,
        message="Team id = blocked-team already exists. Please use a different team id.",
        type=BAD,
        param="team_id",
    ),
    "no such team": Example(
        path="/team/block",
        body={"team_id": "x"},
        status=404,
        message="Team not found, passed team_id=x",
        type=NOT_FOUND,
        param="team_id",
    ),
    "no such team's callbacks": Example(
        path="/team/nobody/callback",
        method="GET",
        status=404,
        message="Team not found, passed team_id=nobody",
        type=NOT_FOUND,
        param="team_id",
    ),
    "a user twice": Example(
        path="/user/new",
        body={"user_id": "u"},
        status=400,
        message="User with user_id u already exists",
        type=BAD,
        param="user_id",
    ),
    "a customer twice": Example(
        path="/customer/new",
        body={"user_id": "c"},
        status=400,
        message="Customer already exists, passed user_id=c",
        type=BAD,
        param="user_id",
    ),
    "two budgets": Example(
        path="/customer/new",
        body={"user_id": "c2", "budget_id": "b", "max_budget": 1},
        status=400,
        message="budget_id and max_budget can't both be set",
        type=BAD,
        param="budget_id",
        note=AS_400,
    ),
    "an address twice": Example(
        path="/add/allowed_ip",
        body={"ip": "127.0.0.1"},
        status=400,
        message="IP address already exists",
        type=BAD,
        param="ip",
    ),
    "no such address": Example(
        path="/delete/allowed_ip",
        body={"ip": "10.9.9.9"},
        status=404,
        message="IP address not found",
        type=NOT_FOUND,
        param="ip",
    ),
}

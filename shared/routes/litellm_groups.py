"""LiteLLM's named lists of routes (`LiteLLMRoutes.<name>`), as predicates over our table.

An operator writes such a name wherever routes are listed: `allowed_routes: ["llm_api_routes"]`,
with `LiteLLMRoutes.` before it or without. The paths are LiteLLM's contract, also of routes that we
don't serve yet: a row finds its groups here, and a row of ours that LiteLLM doesn't have names its
groups itself. `(/v1)` before a path means with and without it.
"""

from shared.routes.route import without_names

PREFIX = "LiteLLMRoutes."


def _paths(text: str) -> frozenset[str]:
    found = set()
    for path in text.split():
        if path.startswith("(/v1)"):
            found |= {path[5:], "/v1" + path[5:]}
        else:
            found.add(path)
    return frozenset(found)


def _each(stem: str, *ends: str) -> frozenset[str]:
    return frozenset(stem + end for end in ends)


_OPENAI = _paths("""
/engines/{model}/chat/completions /openai/deployments/{model}/chat/completions (/v1)/chat/completions
/cursor/chat/completions /cursor/models /cursor/v1/models /engines/{model}/completions
/openai/deployments/{model}/completions (/v1)/completions /engines/{model}/embeddings
/openai/deployments/{model}/embeddings (/v1)/embeddings (/v1)/images/generations (/v1)/images/edits
(/v1)/videos (/v1)/videos/{video_id} (/v1)/videos/{video_id}/content (/v1)/videos/{video_id}/remix
(/v1)/audio/transcriptions (/v1)/audio/speech (/v1)/moderations (/v1)/batches (/v1)/batches/{batch_id}
(/v1)/batches/{batch_id}/cancel (/v1)/files (/v1)/files/{file_id} (/v1)/files/{file_id}/content
(/v1)/fine_tuning/jobs (/v1)/fine_tuning/jobs/{fine_tuning_job_id}/cancel (/v1)/assistants
(/v1)/assistants/{assistant_id} (/v1)/threads (/v1)/threads/{thread_id} (/v1)/threads/{thread_id}/messages
(/v1)/threads/{thread_id}/runs (/v1)/models /utils/token_counter /utils/model_info /utils/transform_request
(/v1)/rerank /v2/rerank (/v1)/realtime /openai/v1/realtime (/v1)/realtime?{model} /openai/v1/realtime?{model}
(/v1)/realtime/client_secrets /openai/v1/realtime/client_secrets (/v1)/realtime/calls /openai/v1/realtime/calls
(/v1)/realtime/transcription_sessions /openai/v1/realtime/transcription_sessions
(/v1)/responses /openai/v1/responses (/v1)/responses/{response_id} /openai/v1/responses/{response_id}
(/v1)/responses/{response_id}/input_items /openai/v1/responses/{response_id}/input_items
(/v1)/responses/{response_id}/cancel /openai/v1/responses/{response_id}/cancel
(/v1)/responses/input_tokens /openai/v1/responses/input_tokens (/v1)/vector_stores
(/v1)/vector_stores/{vector_store_id} (/v1)/vector_stores/{vector_store_id}/search
(/v1)/vector_stores/{vector_store_id}/files (/v1)/vector_stores/{vector_store_id}/files/{file_id}
(/v1)/vector_stores/{vector_store_id}/files/{file_id}/content (/v1)/vector_store/list (/v1)/search
(/v1)/search/{search_tool_name} (/v1)/decisions (/v1)/systemone (/v1)/ocr (/v1)/containers (/v1)/containers/*
""")

_PASS_THROUGH = _paths("""
/bedrock /comprehendmedical /azure_speech /transcribe /vertex-ai /vertex_ai /cohere /cursor /gemini /anthropic /langfuse
/azure /azure_ai /openai /openai_passthrough /assemblyai /eu.assemblyai /tinyfish /vllm /mistral /typesafe /laya
/bespoke /openrouter /milvus /gigachat /watsonx /nvidia_nim /deepgram /fal_ai
""")

_NATIVE = _paths("""
(/v1)/rag/ingest (/v1)/rag/query /lens /lens/{lens_id} /lens/{lens_id}/runs /lens/{lens_id}/runs/{job_id}
/lens/{lens_id}/executions/{execution_id} /lens/{lens_id}/cancel /lens/{lens_id}/findings/{finding_id}
/lens/feedback /lens/feedback/summary /lens/preview/sample /lens/workers/register /lens/workers/{worker_id}
/v1/traces /v1/logs /v1/traces/query /v1/traces/query/help /v1/traces/{trace_id}
/v1/traces/{trace_id}/spans/{span_id} /v1/traces/{trace_id}/spans/{span_id}/error
""")

_ANTHROPIC = _paths("""
/v1/messages /v1/messages/count_tokens /claude_code_gateway/v1/messages /claude_code_gateway/v1/messages/count_tokens
/v1/skills /v1/skills/{skill_id} /claude-code/marketplace.json /claude-code/plugins /claude-code/plugins/{plugin_name}
""")

_MCP_INFERENCE = _paths("""
/mcp /mcp/ /mcp/sse/ /mcp/sse/messages /mcp/sse/messages/ /mcp/proxy /mcp/{subpath} (/v1)/mcp/tools /mcp/tools/list
/mcp/tools/call /mcp-rest/tools/list /mcp-rest/tools/call /introspect /token
""")
_MCP_MANAGEMENT = _paths("/v1/mcp/server /v1/mcp/server/{path:path} /v1/mcp/sessions")

_AGENT_INFERENCE = _paths("""
/agents /a2a/{agent_id} (/v1)/a2a/{agent_id}/message/send /a2a/{agent_id}/message/stream
/a2a/{agent_id}/.well-known/agent-card.json
""")
_AGENT_MANAGEMENT = _paths("""
/v1/agents /v1/agents/{agent_id} /v1/agents/make_public /v1/agents/{agent_id}/make_public
/v1/agents/{agent_id}/kill_switch
""")

_GOOGLE = _paths("""
/v1beta/models/{model_name:path}:countTokens /v1beta/models/{model_name:path}:generateContent
/v1beta/models/{model_name:path}:streamGenerateContent /models/{model_name:path}:countTokens
/models/{model_name:path}:generateContent /models/{model_name:path}:streamGenerateContent
/interactions /v1beta/interactions /interactions/{interaction_id} /v1beta/interactions/{interaction_id}
/interactions/{interaction_id}/cancel /v1beta/interactions/{interaction_id}/cancel
/v1beta/agents /v1beta/agents/{name} /v1beta/agents/{name}/versions
""")

_APPLY_GUARDRAIL = _paths("/guardrails/apply_guardrail")
_MODEL_INFO = _paths("(/v1)/model/info /model_group/info")

_LLM_API = (
    _OPENAI
    | _ANTHROPIC
    | _GOOGLE
    | _PASS_THROUGH
    | frozenset(path + "/*" for path in _PASS_THROUGH)
    | _APPLY_GUARDRAIL
    | _MCP_INFERENCE
    | _NATIVE
    | _AGENT_INFERENCE
    | _MODEL_INFO
)

_INFO = _paths("""
/key/info /key/health /team/info /team/list /v2/team/list /organization/list /team/available /team/metadata_schema
/user/info /v2/user/info (/v1)/model/info /v2/model/info /v2/key/info /model_group/info /health /health/services
/key/list /user/filter/ui (/v1)/models /sso/get/ui_settings /get/user_banner /get/latest_release_info
""")

_AGGREGATES = ("", "/aggregated", "/aggregated/keys", "/aggregated/search", "/aggregated/model_top_keys", "/export")
_USER_ACTIVITY = _each("/user/daily/activity", *_AGGREGATES, "/aggregated/cache_leakage_keys")
_TEAM_ACTIVITY = _each("/team/daily/activity", *_AGGREGATES)
_TAG_ACTIVITY = _each("/tag/daily/activity", *_AGGREGATES)
_ORGANIZATION_ACTIVITY = _each("/organization/daily/activity", *_AGGREGATES)

_KEY_MANAGEMENT = _TEAM_ACTIVITY | _paths("""
/key/generate /key/update /key/delete /key/info /key/regenerate /key/service-account/generate /key/{key_id}/regenerate
/key/list /key/block /key/unblock /key/bulk_update /team/key/bulk_update /spend/logs /spend/logs/v2
/key/{key_id}/reset_spend /key/aliases /key/access_group_assignment /auto_router/manage
""")

_MANAGEMENT = (
    _USER_ACTIVITY
    | _KEY_MANAGEMENT
    | _MCP_MANAGEMENT
    | _AGENT_MANAGEMENT
    | _paths("""
/user/new /management/v1/users/bulk /user/update /user/bulk_update /user/delete /management/v1/users/bulk_delete
/user/info /user/list /team/new /team/update /team/{team_id} /team/delete /team/list /v2/team/list /team/info
/team/block /team/unblock /team/available /team/metadata_schema /team/permissions_list /team/permissions_update
/team/permissions_bulk_update /team/spend/by_user /gateway/daily/activity /model/new /model/update /model/delete
/model/info /jwt/key/mapping/new /jwt/key/mapping/update /jwt/key/mapping/delete /jwt/key/mapping/list
/jwt/key/mapping/info
""")
)

_SPEND_TRACKING = _paths("""
/spend/keys /spend/users /spend/tags /spend/calculate /spend/logs /spend/logs/v2 /spend/logs/ui
/spend/logs/ui/{request_id} /spend/logs/session/ui /key/spend/report /user/spend/report /team/spend/report
/organization/spend/report /management/v1/spend_logs/end_users /management/v1/spend_logs/users /cost/estimate
""")
_GLOBAL_SPEND_TRACKING = _paths("""
/global/spend/logs /global/spend /global/spend/keys /global/spend/teams /global/spend/end_users /global/spend/models
/global/predict/spend/logs /global/spend/report /global/spend/provider /global/spend/tags /global/spend/all_tag_names
/spend/capture_rate
""")

_PUBLIC = _paths("""
/ /.well-known/litellm-ui-config /config/yaml /health/liveliness /health/liveness /litellm/.well-known/litellm-ui-config
/moyai/connect/exchange /public/agent_hub /public/litellm_model_cost_map /public/mcp_hub /public/model_hub
/public/model_hub/info /public/skill_hub /public/v1/model_hub /public/v1/model_hub/features
/public/v1/model_hub/modes /public/v1/model_hub/providers /routes /test
""")

_UI = _INFO | _paths("""
/sso /get/ui_settings /login /config /spend /global/spend /global/spend/logs /global/spend/keys /global/spend/models
/global/spend/tags /global/predict/spend/logs /global/activity /gateway/daily/activity
""")

_COMPLIANCE = _paths("/compliance/eu-ai-act /compliance/gdpr")

_INTERNAL_USER = (
    _TAG_ACTIVITY
    | _SPEND_TRACKING
    | _KEY_MANAGEMENT
    | _COMPLIANCE
    | _paths("""
/global/activity /global/activity/model /global/activity/cache_hits /tag/list (/v1)/models/{model_id} /guardrails/list
/v2/guardrails/list /project/list /project/info /search_tools/list /search_tools/ui/available_providers
""")
)
_INTERNAL_USER_VIEW_ONLY = _TAG_ACTIVITY | _SPEND_TRACKING | _COMPLIANCE | _paths("/tag/list")

_SELF_MANAGED = (
    _TEAM_ACTIVITY
    | _USER_ACTIVITY
    | _ORGANIZATION_ACTIVITY
    | _AGENT_MANAGEMENT
    | _paths("""
/team/update /team/member_add /team/member_delete /management/v1/teams/{team_id}/members/bulk_delete
/management/v1/teams/{team_id}/members/bulk_update /team/member_update
/team/{team_id}/member/{user_id}/reset_spend /team/{team_id}/member/{user_id}/reset_budget /team/permissions_list
/team/permissions_update /team/spend/by_user /team/{team_id}/members/me /team/{team_id:path}/callback
/team/{team_id:path}/callback/{callback_name} /model/new /model/update /model/delete /user/available_roles
/claude_code_gateway/managed/settings /claude_code_gateway/v1/metrics /claude_code_gateway/v1/logs
/claude_code_gateway/v1/traces /user/list /management/v1/users/bulk_delete /user/password/change /session/logout
/model/{model_id}/update /prompt/list /prompt/info /vector_store/info /project/list /project/info /project/new
/project/update /health/test_connection /invitation/new /invitation/delete /guardrails/register
/guardrails/submissions /guardrails/submissions/{guardrail_id} /auto_router/test_routing
/auto_router/validate_complexity_router_config /auto_router/availability /auto_router/session /cost/predict-cache
""")
)

_ORG_ADMIN_ONLY = _paths("""
/organization/info /organization/delete /organization/member_add /organization/member_update
/organization/member_delete
""")

_ADMIN_VIEWER = (
    _USER_ACTIVITY
    | _TEAM_ACTIVITY
    | _TAG_ACTIVITY
    | _SPEND_TRACKING
    | _INFO
    | _paths("""
/lens/traces/findings /lens/feedback/summary /user/list /user/available_users /user/available_roles /tag/list /audit
/audit/{id} /global/activity /global/activity/model /global/activity/cache_hits /customer/list /customer/info
/callbacks/list /callbacks/configs /get/config/callbacks /alerting/settings /config/list /config/field/info
/budget/list /management/v1/budgets /budget/settings /invitation/info /guardrails/list /v2/guardrails/list
/guardrails/submissions /guardrails/submissions/{guardrail_id} /guardrails/usage/overview
/policies/attachments/list /get/mcp_semantic_filter_settings /schedule/model_cost_map_reload/status
/model/cost_map/source /auto_router/classifier/default_prompt
""")
)

GROUPS: dict[str, frozenset[str]] = {
    "openai_route_names": _paths("""chat_completion completion embeddings image_generation video_generation
        audio_transcriptions moderations model_list"""),
    "openai_routes": _OPENAI,
    "mapped_pass_through_routes": _PASS_THROUGH,
    "passthrough_routes_wildcard": frozenset(path + "/*" for path in _PASS_THROUGH),
    "litellm_native_routes": _NATIVE,
    "anthropic_routes": _ANTHROPIC,
    "mcp_inference_routes": _MCP_INFERENCE,
    "mcp_management_routes": _MCP_MANAGEMENT,
    "mcp_routes": _MCP_INFERENCE | _MCP_MANAGEMENT,
    "agent_inference_routes": _AGENT_INFERENCE,
    "agent_management_routes": _AGENT_MANAGEMENT,
    "agent_routes": _AGENT_INFERENCE | _AGENT_MANAGEMENT,
    "google_routes": _GOOGLE,
    "apply_guardrail_routes": _APPLY_GUARDRAIL,
    "model_info_routes": _MODEL_INFO,
    "llm_api_routes": _LLM_API,
    "info_routes": _INFO,
    "master_key_only_routes": _paths("/global/spend/reset /memory-usage-in-mem-cache /memory-usage-in-mem-cache-items"),
    "key_management_routes": _KEY_MANAGEMENT,
    "team_service_account_key_routes": _paths("/key/generate /key/update"),
    "management_routes": _MANAGEMENT,
    "spend_tracking_routes": _SPEND_TRACKING,
    "global_spend_tracking_routes": _GLOBAL_SPEND_TRACKING,
    "public_routes": _PUBLIC,
    "ui_routes": _UI,
    "compliance_check_routes": _COMPLIANCE,
    "internal_user_routes": _INTERNAL_USER,
    "internal_user_view_only_routes": _INTERNAL_USER_VIEW_ONLY,
    "self_managed_routes": _SELF_MANAGED,
    "org_admin_only_routes": _ORG_ADMIN_ONLY,
    "admin_viewer_routes": _ADMIN_VIEWER,
    "org_admin_allowed_routes": _ORG_ADMIN_ONLY | _MANAGEMENT | _SELF_MANAGED | _ADMIN_VIEWER,
}

_BY_PATH: dict[str, set[str]] = {}
for _name, _members in GROUPS.items():
    for _path in _members:
        _BY_PATH.setdefault(without_names(_path), set()).add(_name)

_STARS = {path: names for path, names in _BY_PATH.items() if path.endswith("/*")}


def groups_of(paths: tuple[str, ...]) -> frozenset[str]:
    """The lists that hold one of these paths (or templates)."""
    found: set[str] = set()
    for path in paths:
        found |= _BY_PATH.get(without_names(path), set())
        for star, names in _STARS.items():
            if path.startswith(star[:-1]):
                found |= names
    return frozenset(found)


def group_name(entry: str) -> str | None:
    """The list an entry names, with `LiteLLMRoutes.` before it or without; None: it is no list's
    name.
    """
    name = entry.removeprefix(PREFIX)
    return name if name in GROUPS else None

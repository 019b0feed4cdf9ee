"""Keys of LiteLLM's that have no effect here, each with the reason.

A reason that begins with `=` says that what the key asks for is so anyway: then nothing is left
undone. With `~` it is so but for what the reason says. `false`, or an empty value, asks for
nothing, but of the keys in `OFF_ASKS`.
"""

_WRITES = "every call is recorded before it is answered, nothing is written later"
_POOL = "the ledger's connections are TOLLGATE_LEDGER_POOL_CONNECTIONS"
_REDIS = "no Redis is needed: NATS carries what replicas share"
_UI = "a setting of LiteLLM's admin pages"
_OTHER = "not a key of LiteLLM's"
_CHOOSES = "a setting of LiteLLM's own routers, which choose a model by the prompt: a caller names the model here"

_PORT = "the edge's address is --host and --port, or TOLLGATE_EDGE_HOST and TOLLGATE_EDGE_PORT"
_WORKERS = "how many edges there are is --num_workers, or TOLLGATE_REPLICAS"
_FLAGS = {"host": _PORT, "port": _PORT, "num_workers": _WORKERS, "workers": _WORKERS}
"""Of LiteLLM's command, and written into any section."""

GENERAL: dict[str, str] = {
    **_FLAGS,
    "proxy_batch_write_at": f"= {_WRITES}",
    "disable_error_logs": "~ no error's text and nothing of its request is ever written; that a call failed is in the book, as its code",
    "database_connection_timeout": _POOL,
    "database_connect_timeout": _POOL,
    "database_socket_timeout": _POOL,
    "database_connection_pool_timeout": _POOL,
    "database_max_idle_connection_lifetime": _POOL,
    "database_extra_connection_params": "put them into database_url",
    "database_disable_prepared_statements": "set it in database_url's pooler",
    "database_type": "= the book is PostgreSQL",
    "database_args": "the book is PostgreSQL",
    "disable_prisma_schema_update": "the ledger migrates its own schema at start, under its lock",
    "allow_requests_on_db_unavailable": "= calls go on while the database is away, and are recorded",
    "use_redis_transaction_buffer": f"= {_WRITES}; {_REDIS}",
    "enable_redis_auth_cache": f"= {_REDIS}",
    "coordination_redis": _REDIS,
    "user_api_key_cache_ttl": "= permissions change at once, on every edge",
    "user_api_key_cache_max_size": "TOLLGATE_EDGE_GRANTS_MAX",
    "proxy_budget_rescheduler_min_time": "= budgets are windows, nothing resets them later",
    "proxy_budget_rescheduler_max_time": "= budgets are windows, nothing resets them later",
    "disable_spend_updates": _WRITES,
    "disable_budget_reservation": "= what the file limits is held to by what was spent, and nothing is set aside",
    "fail_closed_budget_enforcement": "a budget says itself whether it is soft or hard",
    "supported_db_objects": "= what was changed at run time is read from the control stream",
    "store_audit_logs": "= every change is in the audit log",
    "allow_user_auth": "= it opened `/user/auth`, which LiteLLM has no more; people sign in by SSO or JWT",
    "auto_redirect_ui_login_to_sso": _UI,
    "disable_master_key_return": "= no key is ever returned",
    "disable_key_generate_for_org_admin": "= organisations' administrators make no keys",
    "disable_retry_on_max_parallel_request_limit_error": "= what a limit refused is not tried again",
    "enable_health_check_routing": "deployments that fail rest, which needs no health checks",
    "use_shared_health_check": _REDIS,
    "health_check_details": "`/health` shows what is known",
    "custom_key_generate": "Python of the operator's isn't loaded",
    "custom_sso": "Python of the operator's isn't loaded",
    "custom_auth_run_common_checks": "= the rules of team, user and models are looked at in any case",
    "enable_post_custom_auth_checks": "= the rules of team, user and models are looked at in any case",
    "otel": "tracing is set by OTEL_EXPORTER_OTLP_ENDPOINT",
    "litellm_license": "= nothing needs a licence",
    "max_in_flight_requests_per_worker": "TOLLGATE_EDGE_REQUESTS_MAX",
    "enable_openai_websocket_passthrough": "no websockets",
    "cancel_on_disconnect": "= a client that leaves cancels the call",
    "control_plane_url": _OTHER,
    "plugins": "Python of the operator's isn't loaded",
}

LITELLM: dict[str, str] = {
    **_FLAGS,
    "telemetry": "= nothing is ever sent to us",
    "suppress_debug_info": "= no debug information is printed",
    "suppress_startup_output": "= one banner, no more",
    "log_raw_request_response": "`--detailed_debug` shows it",
    "redact_messages_in_exceptions": "= no error repeats a prompt",
    "disable_token_counter": "tokens are counted only where the provider says none",
    "disable_hf_tokenizer_download": "= nothing is downloaded at run time",
    "use_aiohttp_transport": "= providers are called by a client of our own",
    "disable_aiohttp_transport": "= providers are called by a client of our own",
    "aiohttp_trust_env": "HTTPS_PROXY is honoured anyway",
    "http2": "providers are called with HTTP/1.1",
    "include_cost_in_streaming_usage": "a stream's usage is the provider's",
    "use_chat_completions_url_for_anthropic_messages": "= Anthropic's messages for another's model are asked as a chat",
    "route_all_chat_openai_to_responses": "chat goes to chat",
    "enable_preview_features": "there are none",
    "return_response_headers": "= the provider's headers that matter are passed on",
    "disable_end_user_cost_tracking_prometheus_only": "= customers are no label of a metric",
    "enable_end_user_cost_tracking_prometheus_only": "customers are no label of a metric: their number has no bound",
    "prometheus_initialize_budget_metrics": "metrics appear with their first value",
    "custom_prometheus_metadata_labels": "metrics have fixed labels",
    "custom_prometheus_tags": "metrics have fixed labels",
    "overwrite_user_with_key_hash": "`user` is the caller's",
    "add_user_information_to_llm_headers": "no provider is told who calls",
    "default_redis_ttl": _REDIS,
    "default_redis_batch_cache_expiry": _REDIS,
    "custom_provider_map": "Python of the operator's isn't loaded: its models are left out",
    "default_in_memory_ttl": "cache_params.ttl",
    "budget_exceeded_status_code": "= 422, or 429 where a client asks for it",
    "timezone": f"{_OTHER}; days are UTC's",
    "stream": f"{_OTHER}: the caller says whether it wants a stream",
    "proxy_auth": "providers are called with the entry's credentials",
    "enable_azure_ad_token_refresh": "= Entra's tokens are renewed before they end",
    "disable_copilot_system_to_assistant": "= system messages stay what they are",
    "prompts": "prompts are the caller's",
}

OFF_ASKS = frozenset({"aiohttp_trust_env", "health_check_details", "stream"})
"""Of which `false` says what is to be done."""

OFF_IS_SO = frozenset({"enable_oauth", "use_queue", "use_responses_api"})
"""Switches that LiteLLM doesn't have, and whose `false` asks for what is so."""

_METRICS = "nobody reads it; `/metrics` is there in any case"
_BOOK = "nobody reads it; every call is in the book in any case"
_STREAMS = "nobody reads it; a call that asks for a stream gets one in any case"
_BALANCE = "nobody reads it; deployments of one name share its calls in any case"
_TOOLS = "nobody reads it; tools and calls of them are passed on in any case"
_HEALTH = "nobody reads it; `/health` is there in any case"
INVENTED: dict[str, str] = {
    "enable_metrics": _METRICS, "enable_prometheus": _METRICS, "enable_prometheus_metrics": _METRICS, "prometheus_metrics": _METRICS,
    "enable_spend_logging": _BOOK, "enable_spend_tracking": _BOOK, "enable_cost_tracking": _BOOK, "track_cost": _BOOK, "track_costs": _BOOK,
    "cost_tracking": _BOOK, "track_usage": _BOOK, "enable_usage_tracking": _BOOK, "log_requests": _BOOK,
    "streaming": _STREAMS, "enable_streaming": _STREAMS, "enable_stream": _STREAMS, "stream_support": _STREAMS,
    "enable_loadbalancing": _BALANCE, "enable_load_balancing": _BALANCE, "load_balancing": _BALANCE,
    "enable_function_calling": _TOOLS, "pass_through_function_calls": _TOOLS, "enable_tools": _TOOLS, "function_calling": _TOOLS,
    "enable_health_check": _HEALTH, "enable_health_checks": _HEALTH, "health_check": _HEALTH,
}  # fmt: skip
"""Switches that people write into a section, or beside the sections, and LiteLLM doesn't have
there. Where they are on, nothing happens, and what they ask for is so. In other places the same
name may mean something (`callback_settings.otel.enable_metrics`)."""

ROUTER: dict[str, str] = {
    **_FLAGS,
    "redis_host": f"= {_REDIS}",
    "redis_port": f"= {_REDIS}",
    "redis_password": f"= {_REDIS}",
    "redis_url": f"= {_REDIS}",
    "redis_db": f"= {_REDIS}",
    "cache_kwargs": _REDIS,
    "caching_groups": "a cache is per model",
    "client_ttl": "connections are kept while they are used",
    "polling_interval": "= deployments are known at once",
    "alerting_config": "general_settings.alerting",
    "router_general_settings": "for LiteLLM's own use",
    "optional_pre_call_checks": "prompt caching and session affinity: not used yet",
    "deployment_affinity_ttl_seconds": "session affinity: not used yet",
    "model_group_affinity_config": "session affinity: not used yet",
    "assistants_config": "no assistants",
    "search_tools": "no search tools",
    "fallback_depth": "max_fallbacks",
}

ENTRY: dict[str, str] = {
    "drop_system_message": _OTHER,
    "use_in_pass_through": "pass-through endpoints have credentials of their own",
    "use_litellm_proxy": "an entry says its address",
    "litellm_trace_id": "for LiteLLM's own use",
    "max_file_size_mb": "general_settings.max_file_size_mb",
    "default_api_key_tpm_limit": "limits are a key's or a team's",
    "default_api_key_rpm_limit": "limits are a key's or a team's",
    "model_info": "it belongs beside litellm_params",
    "region_name": "calls go where api_base says",
    "custom_prompt_dict": "the provider applies its model's template",
    "initial_prompt_value": "the provider applies its model's template",
    "roles": "the provider applies its model's template",
    "final_prompt_value": "the provider applies its model's template",
    "bos_token": "the provider applies its model's template",
    "eos_token": "the provider applies its model's template",
    "hf_model_name": "the provider applies its model's template",
    "use_chat_completions_api": "= chat goes to chat",
    "adaptive_router_config": _CHOOSES,
    "adaptive_router_default_model": _CHOOSES,
    "adaptive_router_preferences": _CHOOSES,
    "auto_router_capability_limit": _CHOOSES,
    "auto_router_config": _CHOOSES,
    "auto_router_config_path": _CHOOSES,
    "auto_router_default_model": _CHOOSES,
    "auto_router_embedding_model": _CHOOSES,
    "auto_router_max_input_chars": _CHOOSES,
    "auto_router_model_compression": _CHOOSES,
    "auto_router_routing_compression": _CHOOSES,
    "complexity_router_config": _CHOOSES,
    "complexity_router_default_model": _CHOOSES,
    "quality_router_config": _CHOOSES,
    "quality_router_default_model": _CHOOSES,
}

INFO_NOTE = "shown in /model/info"
"""Anything else that `model_info` holds is shown, and nothing more."""

SECTIONS: dict[str, str] = {
    "files_settings": "no files of providers are kept",
    "finetune_settings": "no fine-tuning",
    "assistant_settings": "no assistants",
    "batch_settings": "no batches",
    "mcp_aliases": "a server of mcp_servers is reached by its name",
    "mcp_tools": "no tools of our own",
    "vector_store_registry": "no vector stores",
    "search_tools": "no search tools",
    "prompts": "prompts are the caller's",
    "policies": "guardrails are chosen by key, team and request",
    "policy_attachments": "guardrails are chosen by key, team and request",
    "agent_list": "no agents",
    "agents": "no agents",
    "worker_registry": "replicas find each other",
}

"""`general_settings`: who may call, and what the gateway keeps."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from shared.config.fields import By
from shared.config.schema.custom_auth import CustomAuthSettings
from shared.secrets.value import Secret

Names = list[str]


class GeneralSettings(Struct, frozen=True, kw_only=True):
    """Seconds, megabytes and USD are numbers as LiteLLM has them; the unit is in the docstring."""

    # ── who may call ──

    master_key: Annotated[Secret | None, By("config")] = None
    """The administrator's key. Not set: LITELLM_MASTER_KEY."""
    allow_open_gateway: Annotated[bool, By("config")] = False
    """Start without a master key, or with a weak one that others can reach."""
    dangerously_permit_weak_or_unset_master_key: Annotated[bool, By("config")] = False
    """LiteLLM's name for `allow_open_gateway`."""
    offline: Annotated[bool, By("edge", "ledger")] = False
    """Call nobody but whom this file and the environment name: providers, guardrails, sinks,
    vaults, identity providers. See docs/offline.md.
    """
    allow_unenforced: Annotated[Names, By("config")] = []
    """Names of guardrails, hooks and keys that protect, can't be enforced here, and may be left
    undone all the same.
    """
    litellm_key_header_name: Annotated[str | None, By()] = None
    """The only header a key is taken from; its value is `Bearer <key>`."""
    custom_auth: Annotated[
        str | None,
        By("config", "edge", differently="budgets and rates that it returns don't bind; see docs/identity.md"),
    ] = None
    """A Python function of the operator's that says who calls: `my_file.my_function`, the file
    beside this one.
    """
    custom_auth_settings: Annotated[CustomAuthSettings, By("config")] = CustomAuthSettings()
    """`mode`: on, off, auto (what it refuses may be a virtual key); `timeout`: seconds."""
    enable_jwt_auth: Annotated[bool, By("edge")] = False
    """Take JSON web tokens as credentials. Without it a token is no credential: nothing is
    opened.
    """
    litellm_jwtauth: Annotated[dict[str, Any], By("edge")] = {}
    """How a token's claims become a caller."""
    allow_any_audience: Annotated[bool, By("edge")] = False
    """Take tokens that were made for somebody else, where neither audience nor issuer is set."""
    role_permissions: Annotated[list[Any], By("edge")] = []
    """Which models and routes a role of a token has."""
    proxy_base_url: Annotated[
        str | None,
        By("edge", differently="where people sign in, as PROXY_BASE_URL, which goes before; LiteLLM ignores it"),
    ] = None
    """The address at which people reach the admin pages."""
    ui_access_mode: Annotated[Any, By("edge")] = None
    """Who may use the admin pages."""
    disable_env_credential_login: Annotated[bool, By("edge")] = False
    """Nobody signs in with UI_USERNAME and UI_PASSWORD."""
    max_failed_login_attempts_per_source: Annotated[int, By("edge")] = 10
    """Failed logins of one address within `failed_login_window_seconds`, after which it waits; ten
    times as many for an account, but for browsers that have signed in to it before.
    """
    failed_login_window_seconds: Annotated[float, By("edge")] = 60
    """That window."""
    failed_login_block_seconds: Annotated[float, By("edge")] = 300
    """How long it waits."""
    disable_password_login_when_sso_enabled: Annotated[bool, By("edge")] = False
    """The same, where single sign-on is set up."""
    allowed_ips: Annotated[Names | None, By("policy")] = None
    """Addresses or networks that may call; None: all."""
    use_x_forwarded_for: Annotated[bool, By("edge")] = False
    """Take the client's address from X-Forwarded-For."""
    allowed_routes: Annotated[Names | None, By("policy")] = None
    """The only routes that may be called; None: all."""
    public_routes: Annotated[Names, By("policy")] = []
    """Routes that need no key."""
    admin_only_routes: Annotated[Names, By("policy")] = []
    """Routes for administrators alone."""
    enforced_params: Annotated[Names, By("policy")] = []
    """Parameters that every request must have, such as `user` or `metadata.generation_name`."""
    enforce_user_param: Annotated[bool, By("policy")] = False
    """Every request must name its `user`."""
    reject_clientside_metadata_tags: Annotated[bool, By("policy")] = False
    """Refuse requests that bring tags of their own."""
    block_robots: Annotated[bool, By("edge")] = False
    """`/robots.txt` tells crawlers to stay away."""
    disable_custom_api_keys: Annotated[bool, By("edge")] = False
    """Nobody may choose the value of a new key."""
    disable_auto_add_proxy_admin_to_teams: Annotated[bool, By("policy")] = False
    """A proxy admin who makes a team isn't made its admin."""
    default_team_disabled: Annotated[bool, By()] = False
    """No key without a team."""
    service_account_settings: Annotated[dict[str, Any], By("policy")] = {}
    """`enforced_params` of service accounts' keys."""

    # ── sizes and limits ──

    disable_reset_budget: Annotated[bool, By("policy", differently="of litellm_settings.max_budget alone")] = False
    """The gateway's budget never begins anew, whatever its term is."""
    max_request_size_mb: Annotated[float | None, By("edge")] = None
    """Of a request's decompressed body."""
    max_response_size_mb: Annotated[float | None, By("edge")] = None
    """Of an answer; a stream is cut."""
    max_file_size_mb: Annotated[float | None, By("edge")] = None
    """Of one uploaded file."""
    allowed_file_extensions: Annotated[Any, By("edge")] = None
    """Of uploaded files."""
    blocked_file_extensions: Annotated[Any, By("edge")] = None
    """Of uploaded files."""
    max_parallel_requests: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        By("edge", differently="as router_settings.default_max_parallel_requests; LiteLLM ignores it"),
    ] = None
    """Calls that a deployment has at once, as LiteLLM's documentation says; 0: no limit."""
    global_max_parallel_requests: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        By("edge", differently="of each edge, among all its requests; one too many is answered 503 at once"),
    ] = None
    """Requests of everybody that are served at once; 0: no limit."""

    # ── the book ──

    database_connection_pool_limit: Annotated[
        int | None, By("ledger", differently="of the ledger's answers alone, at most 200")
    ] = None
    """Connections to PostgreSQL."""
    database_url: Annotated[Secret | None, By("config")] = None
    """PostgreSQL of the book, for the ledger alone."""
    store_model_in_db: Annotated[bool, By("config")] = False
    """Models may be added by API (`/model/new`). Also STORE_MODEL_IN_DB."""
    litellm_salt_key: Annotated[Secret | None, By("edge")] = None
    """The sealing key of models and credentials added by API, where LITELLM_SALT_KEY isn't set."""
    always_include_stream_usage: Annotated[bool, By("edge")] = False
    """A stream shows its usage to those too who didn't ask for it."""
    enable_admin_ui: Annotated[bool | None, By(anyway=lambda value: "the admin page is there" if value else "")] = None
    """Whether there is an admin page."""
    trust_stored_models: Annotated[bool, By("config")] = False
    """Ours: what is added by API may do what this file may: name environment variables and files,
    use this machine's own cloud identity at any address, and be called in private networks."""
    disable_spend_logs: Annotated[
        bool, By("ledger", differently="the rows of a day go when it is over and signed; the sums of spend stay")
    ] = False
    """Keep no row a request: as a retention period of one day."""
    store_prompts_in_spend_logs: Annotated[bool, By("policy")] = False
    """Keep prompts and answers, where key and team don't say otherwise in their metadata."""
    maximum_payload_retention_period: Annotated[str | None, By("ledger")] = None
    """How long prompts and answers are kept; 30d. Ours."""
    maximum_spend_logs_retention_period: Annotated[str | None, By("ledger")] = None
    """How long rows are kept, like `90d`."""
    maximum_spend_logs_retention_interval: Annotated[str | None, By("ledger")] = None
    """How often what is old is dropped, like `1d`."""
    maximum_spend_logs_cleanup_cron: Annotated[str | None, By("ledger")] = None
    """When what is old is dropped, in UTC; goes before the interval."""
    maximum_audit_logs_retention_period: Annotated[str | None, By("ledger")] = None
    """How long the audit log is kept, by whole months. Ours."""
    maximum_rollup_retention_period: Annotated[str | None, By("ledger")] = None
    """How long sums of spend are kept, by whole months. Ours."""
    user_header_name: Annotated[str | None, By("edge")] = None
    """Header that names the customer a call is made for."""
    user_header_mappings: Annotated[
        list[dict[str, Any]] | dict[str, Any], By("edge", differently="those that name the customer")
    ] = []
    """Headers that name the customer or the internal user."""

    # ── secrets ──

    key_management_system: Annotated[str | None, By("config")] = None
    """The secret manager that `os.environ/NAME` asks first."""
    key_management_settings: Annotated[dict[str, Any], By("config")] = {}
    """Its settings."""
    use_google_kms: Annotated[bool, By("config")] = False
    """Decrypt the environment's values with Google's KMS."""
    use_azure_key_vault: Annotated[bool, By("config")] = False
    """LiteLLM's older way to say `key_management_system: azure_key_vault`."""

    # ── health, alerts, others ──

    background_health_checks: Annotated[bool, By("edge")] = False
    """Each edge calls every deployment once in `health_check_interval`, and `/health` shows what
    came of it.
    """
    health_check_interval: Annotated[float | None, By("edge")] = None
    """Seconds for which `/health` shows a deployment's last result instead of calling it again."""
    include_call_id_in_error_body: Annotated[bool, By("edge")] = False
    """Errors say `litellm_call_id` beside what went wrong."""
    alerting: Annotated[Names, By("edge", "ledger")] = []
    """Where alerts go: slack, email, webhook."""
    alerting_threshold: Annotated[float | None, By("ledger")] = None
    """Seconds after which a call is slow enough for an alert."""
    alert_types: Annotated[Names, By("ledger")] = []
    """Which alerts are sent."""
    alerting_args: Annotated[dict[str, Any], By("ledger")] = {}
    """Settings of alerts."""
    alert_to_webhook_url: Annotated[dict[str, Any], By("ledger")] = {}
    """An address an alert type."""
    pass_through_endpoints: Annotated[list[dict[str, Any]], By("edge")] = []
    """Paths that are forwarded as they are."""
    pass_through_request_timeout: Annotated[Annotated[float, Meta(gt=0, le=86_400)] | None, By("edge")] = None
    """Seconds of a request to an endpoint that says no `timeout`."""
    disable_responses_id_security: Annotated[bool, By("edge")] = False
    """Let callers of `/responses` name what other tenants' calls left at a provider, too."""
    allow_unmanaged_response_ids: Annotated[bool, By("edge")] = False
    """Let callers of `/responses` name what a provider keeps by its own id, whoever's it is."""
    infer_model_from_keys: Annotated[
        bool, By("config", differently='as an entry for all models (`model: "*"`): see docs/providers.md')
    ] = False
    """Serve the models of every provider whose key is in the environment."""
    forward_client_headers_to_llm_api: Annotated[bool, By("edge")] = False
    """Send the client's `x-` headers, and `anthropic-beta`, on to the provider; no credential."""
    completion_model: Annotated[
        str | None, By("policy", "edge", differently="where a call names another, the book shows that name")
    ] = None
    """The model that every completion asks, whatever it names."""
    json_logs: Annotated[bool | None, By("config")] = None
    """Logs as JSON, a line each: as they are unless the environment says otherwise."""

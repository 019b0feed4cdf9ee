"""`litellm_settings`: how calls are made, screened, cached and logged."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from shared.config.callbacks import only_always
from shared.config.fields import By

Names = list[str]
Fallbacks = list[dict[str, list[str]]]
"""`[{model: [other, another]}]`."""


MEANT_REQUEST_TIMEOUT = "as request_timeout; LiteLLM ignores it here"
MEANT_ROUTER = "as in router_settings; LiteLLM ignores it here"


class LitellmSettings(Struct, frozen=True, kw_only=True):
    """Seconds and USD are numbers as LiteLLM has them; the unit is in the docstring."""

    # ── guardrails and sinks ──

    callbacks: Annotated[Names | str, By("policy", "moderation", "ledger")] = []
    """Guardrails by name, and sinks for what happened."""
    success_callback: Annotated[Names | str, By("ledger")] = []
    """Sinks for calls that succeeded."""
    failure_callback: Annotated[Names | str, By("ledger")] = []
    """Sinks for calls that failed."""
    s3_callback_params: Annotated[dict[str, Any], By("ledger")] = {}
    """Bucket, path, region, endpoint and keys of the sinks `s3` and `s3_v2`."""
    langfuse_default_tags: Annotated[Names, By("ledger")] = []
    """Names of a call's metadata (`user_api_key_alias` ...) whose values Langfuse gets as tags too,
    as `name:value`.
    """
    service_callback: Annotated[Names | str, By(anyway=only_always)] = []
    """Sinks for the gateway's own health."""
    audit_log_callbacks: Annotated[Names | str, By()] = []
    """Sinks for the audit log."""
    prompt_injection_params: Annotated[
        dict[str, Any], By("moderation", differently="phrases are found in any spelling; likeness isn't looked at")
    ] = {}
    """Of the guardrail detect_prompt_injection. `llm_api_check` refuses the start."""
    banned_keywords_list: Annotated[Any, By("moderation")] = None
    """Of the guardrail banned_keywords: words, or a file with one a line."""
    banned_keywords_homoglyphs: Annotated[bool, By("moderation")] = False
    """Of the same: letters that look alike are the same letter."""
    blocked_user_list: Annotated[Names | str, By("config")] = []
    """Of the guardrail blocked_user_check: customers, or a file with one a line."""
    llm_guard_mode: Annotated[str, By("policy", "moderation")] = "all"
    """Of the guardrail llmguard_moderations: all, key-specific, request-specific."""
    google_moderation_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the guardrail google_text_moderation, for every category."""
    toxic_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category toxic."""
    toxic_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    insult_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category insult."""
    insult_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    profanity_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category profanity."""
    profanity_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    derogatory_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category derogatory."""
    derogatory_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    sexual_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category sexual."""
    sexual_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    death_harm_and_tragedy_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category death_harm_and_tragedy."""
    death_harm_and_tragedy_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    violent_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category violent."""
    violent_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    firearms_and_weapons_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category firearms_and_weapons."""
    firearms_and_weapons_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    public_safety_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category public_safety."""
    public_safety_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    health_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category health."""
    health_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    religion_and_belief_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category religion_and_belief."""
    religion_and_belief_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    illicit_drugs_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category illicit_drugs."""
    illicit_drugs_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    war_and_conflict_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category war_and_conflict."""
    war_and_conflict_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    politics_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category politics."""
    politics_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    finance_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category finance."""
    finance_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    legal_confidence_threshold: Annotated[float | None, By("moderation")] = None
    """Of the same, for the category legal."""
    legal_threshold: Annotated[float | None, By("moderation")] = None
    """The same, as LiteLLM's page spells it."""
    llamaguard_model_name: Annotated[str | None, By("moderation")] = None
    """Of the guardrail llamaguard_moderations: the model that judges."""
    llamaguard_unsafe_content_categories: Annotated[str | None, By("moderation")] = None
    """Of the same: a file with the categories."""
    openai_moderations_model_name: Annotated[str | None, By("moderation")] = None
    """Of the guardrail openai_moderations."""
    guardrails: Annotated[list[dict[str, Any]], By(protects=True)] = []
    """Guardrails in LiteLLM's first form."""

    # ── calls ──

    num_retries: Annotated[int | None, By("edge")] = None
    """More attempts after a failure."""
    request_timeout: Annotated[float | None, By("edge")] = None
    """Seconds a call may take, where its entry sets no `timeout`."""
    timeout: Annotated[float | None, By("edge", differently=MEANT_REQUEST_TIMEOUT)] = None
    """The same."""
    stream_timeout: Annotated[float | None, By("edge", differently=MEANT_ROUTER)] = None
    """Seconds until a stream's first bytes."""
    vertex_project: Annotated[str | None, By("edge")] = None
    """Google's project, for Vertex AI's models that name none."""
    vertex_location: Annotated[str | None, By("edge")] = None
    """Google's region, likewise."""
    drop_params: Annotated[bool, By("edge")] = False
    """Leave out parameters that the provider doesn't take, instead of refusing the call."""
    modify_params: Annotated[bool, By("edge")] = False
    """Mend a conversation that the provider would refuse."""
    fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Other models to ask when one fails."""
    default_fallbacks: Annotated[Names, By("policy")] = []
    """The same for models that `fallbacks` doesn't name."""
    context_window_fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Where the prompt is too long for the model."""
    content_policy_fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Where the provider refuses the content."""
    default_model: Annotated[
        str | None, By("edge", differently="of completions that name none; LiteLLM ignores it")
    ] = None
    """The model that a chat or text completion asks which names none."""
    max_fallbacks: Annotated[int | None, By("policy")] = None
    """Models asked in all."""
    additional_drop_params: Annotated[Names, By("edge", differently="of every entry; LiteLLM ignores it here")] = []
    """Parameters that no provider gets, beside those of its entry."""
    allowed_fails: Annotated[int | None, By("edge")] = None
    """Failures a minute after which a deployment rests."""
    cooldown_time: Annotated[float | None, By("edge")] = None
    """Seconds it rests."""
    ssl_verify: Annotated[bool | str | None, By("edge")] = None
    """false: take any certificate of a provider; a path: of that authority too."""
    force_ipv4: Annotated[bool, By()] = False
    """Connect to providers by IPv4 alone."""

    # ── caching ──

    cache: Annotated[bool | str, By("edge")] = False
    """Answer the same request from a cache."""
    cache_params: Annotated[dict[str, Any], By("edge")] = {}
    """Its kind and term."""
    enable_caching_on_provider_specific_optional_params: Annotated[bool, By()] = False
    """Parameters of the provider's own are part of what makes two requests the same."""

    # ── who owns what, and its money ──

    forward_traceparent_to_llm_provider: Annotated[bool, By("edge")] = False
    """A provider is told whose trace a call belongs to: the caller's `traceparent`, with the call
    as its parent, and `tracestate`.
    """
    disable_end_user_cost_tracking: Annotated[bool, By("edge")] = False
    """The book, and what is made of it, doesn't say for which customer a call was made; blocked
    ones stay blocked.
    """
    extra_spend_tag_headers: Annotated[Names, By("edge")] = []
    """Headers whose values become tags."""
    disable_add_user_agent_to_request_tags: Annotated[
        bool | None,
        By(
            "edge",
            differently="a User-Agent is a tag only where this is `false`: its clients choose it, as many as they like",
        ),
    ] = None
    """`false`: in the book a call's tags are also its client, without and with its version
    (`User-Agent: ...`), which `/tag/dau`, `/tag/distinct` and the others ask for.
    """
    max_budget: Annotated[
        Annotated[float, Meta(ge=0, lt=1e9)] | None,
        By("policy", differently="looked at in the book every second; 0 lets nothing through"),
    ] = None
    """USD the gateway may spend in all in `budget_duration`."""
    budget_duration: Annotated[str | None, By("policy")] = None
    """Term of `max_budget`, like 30d: in UTC, whole days. Without it the budget never begins
    anew.
    """
    default_key_generate_params: Annotated[dict[str, Any], By("policy")] = {}
    """What a new key has where the request doesn't say."""
    upperbound_key_generate_params: Annotated[dict[str, Any], By("policy")] = {}
    """The most a new key may have."""
    key_generation_settings: Annotated[dict[str, Any], By("policy")] = {}
    """Who may make which keys. Without it only administrators do: nothing is opened."""
    default_internal_user_params: Annotated[dict[str, Any], By("edge", "policy")] = {}
    """What a new internal user has."""
    default_team_params: Annotated[dict[str, Any], By("policy")] = {}
    """What a new team has."""
    default_team_settings: Annotated[list[dict[str, Any]], By("ledger")] = []
    """Callbacks of teams."""
    max_internal_user_budget: Annotated[float | None, By()] = None
    """USD of a new internal user."""
    internal_user_budget_duration: Annotated[str | None, By()] = None
    """Its term."""
    max_end_user_budget: Annotated[float | None, By(protects="zero")] = None
    """USD a customer may spend."""
    key_alias_pattern: Annotated[str | None, By("policy")] = None
    """Regular expression that the whole alias of a new or renamed key must match."""

    cost_discount_config: Annotated[dict[str, float], By("policy")] = {}
    """Provider -> the share of its prices that isn't charged: 0.05 is five per cent off."""
    cost_margin_config: Annotated[dict[str, Any], By("policy")] = {}
    """Provider, or `global` for those not named -> what is charged on top: a share (0.1), or
    `{percentage: 0.1, fixed_amount: 0.001}`, the second in USD a call. After the discount."""

    # ── what is shown and logged ──

    log_level: Annotated[str | None, By("config", differently="debug, info, warning, error; LiteLLM ignores it")] = None
    """How much is logged, where the environment doesn't say."""
    set_verbose: Annotated[bool, By("config")] = False
    """Debug lines in the log. Better: `--detailed_debug`, or LITELLM_LOG=DEBUG."""
    json_logs: Annotated[bool | None, By("config")] = None
    """Logs as JSON, a line each: as they are unless the environment says otherwise."""
    store_audit_logs: Annotated[bool, By("ledger")] = True
    """Whether `/audit` answers; every change is recorded in any case."""
    turn_off_message_logging: Annotated[bool, By("policy", "ledger")] = False
    """Sinks get no prompts and answers, unless a key's or team's own entry says otherwise."""
    redact_user_api_key_info: Annotated[bool, By("ledger")] = False
    """Sinks get nothing of the key, its user and its team."""
    public_model_groups: Annotated[Names, By("policy")] = []
    """Models of the public model hub."""
    require_auth_for_metrics_endpoint: Annotated[bool, By("edge")] = True
    """`/metrics` of the clients' port needs a key."""

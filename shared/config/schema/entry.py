"""An entry of `model_list`: `litellm_params` (where a call goes, and with what) and `model_info`
(what is known of the model).

A key of `litellm_params` that isn't here is a price (shared/config/prices.py), or a parameter of
the request (`temperature`, `max_tokens`, the provider's own), which is sent unless the caller says
otherwise.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from shared.config.fields import By
from shared.secrets.value import Secret, SecretDocument


class EntryParams(Struct, frozen=True, kw_only=True):
    # ── which model, where ──

    model: Annotated[str, By("config")]
    """`provider/model`; without a provider its maker is found by the model's name."""
    custom_llm_provider: Annotated[str | None, By("config")] = None
    """The provider, where `model` doesn't say it."""
    api_base: Annotated[str | None, By("config")] = None
    """The provider's address; its own variable (`OPENAI_BASE_URL` ...) or its usual address where
    there is none.
    """
    base_url: Annotated[str | None, By("config")] = None
    """The same."""
    api_key: Annotated[Secret | None, By("config")] = None
    """The provider's own variable (`OPENAI_API_KEY` ...) where there is none."""
    organization: Annotated[str | None, By("edge")] = None
    """OpenAI's organisation."""
    mock_response: Annotated[str | None, By("edge")] = None
    """Answer with this text, without any provider."""
    extra_headers: Annotated[dict[str, str], By("edge")] = {}
    """Headers for the provider."""
    headers: Annotated[dict[str, str], By("config")] = {}
    """The same."""
    litellm_credential_name: Annotated[str | None, By("config")] = None
    """An entry of `credential_list`, whose values stand where this entry has none."""
    configurable_clientside_auth_params: Annotated[list[Any], By()] = []
    """What callers may bring themselves. Without it: nothing."""

    # ── which of several ──

    weight: Annotated[float, By("policy")] = 1.0
    """Share of the calls."""
    order: Annotated[int, By("policy")] = 0
    """Lower is asked first."""
    rpm: Annotated[int | None, By("policy")] = None
    """Requests a minute it takes: its share where no `weight` is given."""
    tpm: Annotated[int | None, By("policy")] = None
    """Tokens a minute it takes."""
    max_parallel_requests: Annotated[
        Annotated[int, Meta(ge=0)] | None, By("edge", differently="from each edge; who comes when it is full waits")
    ] = None
    """Calls it has at once; 0: no limit."""
    tags: Annotated[list[str], By("edge")] = []
    """Requests with one of these tags go here (`enable_tag_filtering`)."""
    max_budget: Annotated[
        Annotated[float, Meta(ge=0, lt=1e9)] | None,
        By("policy", differently="looked at in the book every second"),
    ] = None
    """USD this deployment may be paid in `budget_duration`; what is over it isn't asked."""
    budget_duration: Annotated[str | None, By("policy")] = None
    """Term of `max_budget`, like 30d: in UTC, whole days."""

    # ── how long, how often ──

    timeout: Annotated[float | None, By("edge")] = None
    """Seconds a call may take."""
    stream_timeout: Annotated[float | None, By("edge")] = None
    """Seconds until a stream's first bytes, and between its bytes."""
    max_retries: Annotated[int | None, By("edge")] = None
    """More attempts at this deployment."""
    num_retries: Annotated[int | None, By("edge")] = None
    """The same."""
    cooldown_time: Annotated[float | None, By("edge")] = None
    """Seconds it rests after it failed."""

    # ── parameters ──

    drop_params: Annotated[bool | list[str] | None, By("edge")] = None
    """Leave out parameters that this provider doesn't take."""
    additional_drop_params: Annotated[list[str], By("edge")] = []
    """Parameters to leave out, whatever the provider takes."""
    allowed_openai_params: Annotated[list[str], By("edge")] = []
    """Parameters to send, whatever is known of the provider."""
    ssl_verify: Annotated[bool | str | None, By("edge")] = None
    """Whose certificates this provider may have, where it isn't as litellm_settings say: false:
    any; a path: that authority's too.
    """
    modify_params: Annotated[bool | None, By("edge")] = None
    """Mend a conversation that the provider would refuse."""
    extra_body: Annotated[dict[str, Any], By("edge")] = {}
    """More fields of the body."""
    merge_reasoning_content_in_choices: Annotated[bool, By("edge")] = False
    """In a stream reasoning is a part of the answer's text, between `<think>` and `</think>`."""
    cache_control_injection_points: Annotated[list[dict[str, Any]], By("edge")] = []
    """Messages that are marked for the provider's prompt cache."""

    # ── Azure ──

    api_version: Annotated[str | None, By("edge")] = None
    """Azure's `api-version`."""
    azure_ad_token: Annotated[Secret | None, By("edge")] = None
    """A token of Microsoft Entra."""
    tenant_id: Annotated[str | None, By("edge")] = None
    """Of an Entra application."""
    client_id: Annotated[str | None, By("edge")] = None
    """Of the same."""
    client_secret: Annotated[Secret | None, By("edge")] = None
    """Of the same."""
    azure_authority_host: Annotated[str | None, By("edge")] = None
    """Entra's address, where it isn't the public cloud's."""

    # ── AWS ──

    aws_access_key_id: Annotated[Secret | None, By("edge")] = None
    """Credentials for SigV4; without them the environment's, a profile's or a role's."""
    aws_secret_access_key: Annotated[Secret | None, By("edge")] = None
    """Of the same."""
    aws_session_token: Annotated[Secret | None, By("edge")] = None
    """Of the same."""
    aws_region_name: Annotated[str | None, By("edge")] = None
    """AWS_REGION_NAME, AWS_REGION where there is none."""
    aws_profile_name: Annotated[str | None, By("edge")] = None
    """A profile of the AWS configuration."""
    aws_role_name: Annotated[str | None, By("edge")] = None
    """A role to assume."""
    aws_session_name: Annotated[str | None, By("edge")] = None
    """Name of its session."""
    aws_web_identity_token: Annotated[Secret | None, By("edge")] = None
    """A token to assume the role with."""
    aws_sts_endpoint: Annotated[str | None, By("edge")] = None
    """Where roles are assumed."""
    aws_external_id: Annotated[str | None, By("edge")] = None
    """What the role's policy asks for."""
    aws_bedrock_runtime_endpoint: Annotated[str | None, By("edge")] = None
    """Bedrock's address."""

    # ── Google ──

    vertex_project: Annotated[str | None, By("edge")] = None
    """VERTEXAI_PROJECT, GOOGLE_CLOUD_PROJECT where there is none."""
    vertex_location: Annotated[str | None, By("edge")] = None
    """VERTEXAI_LOCATION where there is none."""
    vertex_credentials: Annotated[SecretDocument | None, By("edge")] = None
    """A service account's key: a file's name, or its content."""

    # ── IBM ──

    project_id: Annotated[str | None, By("edge")] = None
    """watsonx.ai's project."""


class EntryInfo(Struct, frozen=True, kw_only=True):
    """What isn't here is shown in `/model/info`, and nothing more."""

    id: Annotated[str | None, By("config")] = None
    """Identifies the deployment; made of the entry's content where there is none."""
    base_model: Annotated[str | None, By("config")] = None
    """The name to price by."""
    max_input_tokens: Annotated[int | None, By("policy")] = None
    """The context window (`enable_pre_call_checks`)."""
    access_groups: Annotated[list[str], By("policy")] = []
    """Names by which keys and teams may be given this model among others."""
    team_id: Annotated[str | None, By("policy")] = None
    """The team whose alone it is: for others it isn't there."""
    team_public_model_name: Annotated[str | None, By("config")] = None
    """With `team_id`: another name by which that team calls it."""
    health_check_model: Annotated[str | None, By("edge")] = None
    """What a health check calls instead; an entry whose `model_name` is a pattern is checked only
    by it.
    """
    health_check_timeout: Annotated[float | None, By("edge")] = None
    """Seconds that a health check may take."""
    health_check_max_tokens: Annotated[int | None, By("edge")] = None
    """Of a health check's answer; 5 where it isn't said."""
    disable_background_health_check: Annotated[bool, By("edge")] = False
    """Not called in the background."""

-- The tables of a LiteLLM database that an import reads, as far as it reads them; in our own words. tests/prove/test_litellm_schema.py
-- holds this against the schema in LiteLLM's package.
CREATE TABLE "LiteLLM_BudgetTable" (
    budget_id text PRIMARY KEY, max_budget double precision, soft_budget double precision, max_parallel_requests integer, tpm_limit bigint,
    rpm_limit bigint, tpd_limit bigint, model_max_budget jsonb, budget_duration text, budget_reset_at timestamp(3),
    allowed_models text[] DEFAULT '{}', created_at timestamp(3) NOT NULL DEFAULT now(), created_by text, updated_at timestamp(3) NOT NULL DEFAULT now(),
    updated_by text
);
CREATE TABLE "LiteLLM_AccessGroupTable" (access_group_id text PRIMARY KEY, access_group_name text NOT NULL, access_model_names text[] DEFAULT '{}');
CREATE TABLE "LiteLLM_ModelTable" (id serial PRIMARY KEY, aliases jsonb);
CREATE TABLE "LiteLLM_OrganizationMembership" (
    user_id text, organization_id text, user_role text, spend double precision DEFAULT 0, budget_id text, PRIMARY KEY (user_id, organization_id)
);
CREATE TABLE "LiteLLM_TeamMembership" (
    user_id text, team_id text, spend double precision NOT NULL DEFAULT 0, total_spend double precision NOT NULL DEFAULT 0, budget_id text,
    PRIMARY KEY (user_id, team_id)
);
CREATE TABLE "LiteLLM_OrganizationTable" (
    organization_id text PRIMARY KEY, organization_alias text NOT NULL, budget_id text NOT NULL, metadata jsonb NOT NULL DEFAULT '{}', models text[],
    spend double precision NOT NULL DEFAULT 0, model_spend jsonb NOT NULL DEFAULT '{}', created_at timestamp(3) NOT NULL DEFAULT now(),
    created_by text, updated_at timestamp(3) NOT NULL DEFAULT now(), updated_by text
);
CREATE TABLE "LiteLLM_TeamTable" (
    team_id text PRIMARY KEY, team_alias text, organization_id text, admins text[], members text[], members_with_roles jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}', max_budget double precision, soft_budget double precision, spend double precision NOT NULL DEFAULT 0,
    models text[], max_parallel_requests integer, tpm_limit bigint, rpm_limit bigint, tpd_limit bigint, budget_duration text,
    budget_reset_at timestamp(3), blocked boolean NOT NULL DEFAULT false, created_at timestamp(3) NOT NULL DEFAULT now(),
    updated_at timestamp(3) NOT NULL DEFAULT now(), model_spend jsonb NOT NULL DEFAULT '{}', model_max_budget jsonb NOT NULL DEFAULT '{}',
    router_settings jsonb DEFAULT '{}', team_member_permissions text[] DEFAULT '{}', access_group_ids text[] DEFAULT '{}',
    policies text[] DEFAULT '{}', default_team_member_models text[] DEFAULT '{}', budget_limits jsonb, model_id integer,
    allow_team_guardrail_config boolean NOT NULL DEFAULT false
);
CREATE TABLE "LiteLLM_ProjectTable" (
    project_id text PRIMARY KEY, project_alias text, description text, team_id text, budget_id text, metadata jsonb NOT NULL DEFAULT '{}', models text[],
    spend double precision NOT NULL DEFAULT 0, model_rpm_limit jsonb NOT NULL DEFAULT '{}', model_tpm_limit jsonb NOT NULL DEFAULT '{}',
    blocked boolean NOT NULL DEFAULT false, created_at timestamp(3) NOT NULL DEFAULT now(), created_by text, updated_at timestamp(3) NOT NULL DEFAULT now(),
    updated_by text
);
CREATE TABLE "LiteLLM_UserTable" (
    user_id text PRIMARY KEY, user_alias text, sso_user_id text, password text, teams text[] DEFAULT '{}', user_role text, max_budget double precision,
    spend double precision NOT NULL DEFAULT 0, user_email text, models text[], metadata jsonb NOT NULL DEFAULT '{}', max_parallel_requests integer,
    tpm_limit bigint, rpm_limit bigint, budget_duration text, budget_reset_at timestamp(3), policies text[] DEFAULT '{}',
    model_max_budget jsonb NOT NULL DEFAULT '{}', created_at timestamp(3) DEFAULT now(), updated_at timestamp(3) DEFAULT now()
);
CREATE TABLE "LiteLLM_EndUserTable" (
    user_id text PRIMARY KEY, alias text, spend double precision NOT NULL DEFAULT 0, allowed_model_region text, default_model text,
    models text[] DEFAULT '{}', budget_id text, object_permission_id text, blocked boolean NOT NULL DEFAULT false
);
CREATE TABLE "LiteLLM_TagTable" (
    tag_name text PRIMARY KEY, description text, models text[], spend double precision NOT NULL DEFAULT 0, budget_id text,
    created_at timestamp(3) NOT NULL DEFAULT now(), updated_at timestamp(3) NOT NULL DEFAULT now()
);
CREATE TABLE "LiteLLM_VerificationToken" (
    token text PRIMARY KEY, key_name text, key_alias text, soft_budget_cooldown boolean NOT NULL DEFAULT false, spend double precision NOT NULL DEFAULT 0,
    total_spend double precision NOT NULL DEFAULT 0, expires timestamp(3), models text[], aliases jsonb NOT NULL DEFAULT '{}',
    config jsonb NOT NULL DEFAULT '{}', router_settings jsonb DEFAULT '{}', user_id text, team_id text, agent_id text, project_id text,
    permissions jsonb NOT NULL DEFAULT '{}', max_parallel_requests integer, metadata jsonb NOT NULL DEFAULT '{}', blocked boolean, tpm_limit bigint,
    rpm_limit bigint, tpd_limit bigint, max_budget double precision, budget_duration text, budget_reset_at timestamp(3),
    allowed_cache_controls text[] DEFAULT '{}', allowed_routes text[] DEFAULT '{}', key_type text, policies text[] DEFAULT '{}',
    access_group_ids text[] DEFAULT '{}', model_spend jsonb NOT NULL DEFAULT '{}', model_max_budget jsonb NOT NULL DEFAULT '{}',
    budget_fallbacks jsonb NOT NULL DEFAULT '{}', budget_id text, organization_id text, created_at timestamp(3) DEFAULT now(), created_by text,
    updated_at timestamp(3) DEFAULT now(), updated_by text, rotation_count integer DEFAULT 0, auto_rotate boolean DEFAULT false,
    rotation_interval text, last_rotation_at timestamp(3), key_rotation_at timestamp(3), budget_limits jsonb
);
CREATE TABLE "LiteLLM_DeprecatedVerificationToken" (
    id text PRIMARY KEY, token text NOT NULL UNIQUE, active_token_id text NOT NULL, revoke_at timestamp(3) NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT now()
);
CREATE TABLE "LiteLLM_JWTKeyMapping" (
    id text PRIMARY KEY, jwt_issuer text NOT NULL DEFAULT '', jwt_claim_name text NOT NULL, jwt_claim_value text NOT NULL, token text NOT NULL,
    description text, is_active boolean NOT NULL DEFAULT true, created_at timestamp(3) NOT NULL DEFAULT now(), created_by text,
    updated_at timestamp(3) NOT NULL DEFAULT now(), updated_by text
);
CREATE TABLE "LiteLLM_CredentialsTable" (
    credential_id text PRIMARY KEY, credential_name text NOT NULL UNIQUE, display_name text, credential_values jsonb NOT NULL, credential_info jsonb,
    created_at timestamp(3) NOT NULL DEFAULT now(), created_by text, updated_at timestamp(3) NOT NULL DEFAULT now(), updated_by text
);
CREATE TABLE "LiteLLM_ProxyModelTable" (
    model_id text PRIMARY KEY, model_name text NOT NULL, litellm_params jsonb NOT NULL, model_info jsonb, blocked boolean NOT NULL DEFAULT false,
    created_at timestamp(3) NOT NULL DEFAULT now(), created_by text, updated_at timestamp(3) NOT NULL DEFAULT now(), updated_by text
);
CREATE TABLE "LiteLLM_GuardrailsTable" (guardrail_id text PRIMARY KEY, guardrail_name text);

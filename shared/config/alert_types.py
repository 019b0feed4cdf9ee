"""Which alerts there are (`general_settings.alert_types`)."""

ON = (
    "llm_exceptions", "llm_too_slow", "llm_requests_hanging", "budget_alerts", "spend_reports", "failed_tracking_spend",
    "daily_reports", "new_model_added", "outage_alerts", "region_outage_alerts", "cooldown_deployment", "fallback_reports",
    "model_deprecation_warnings", "user_spend_thresholds",
)  # fmt: skip
"""LiteLLM's types that are told unless `alert_types` says otherwise."""
ASKED_FOR = (
    "user_spend_anomalies", "new_virtual_key_created", "virtual_key_updated", "virtual_key_deleted", "new_team_created",
    "team_updated", "team_deleted", "new_internal_user_created", "internal_user_updated", "internal_user_deleted",
)  # fmt: skip
"""Those that are told where `alert_types` names them."""
OURS = ("book_behind", "broker_degraded", "db_exceptions", "chain_broken", "anomaly")
"""Always told: something is wrong with the evidence itself."""
ALERTS = frozenset({*ON, *ASKED_FOR, *OURS})

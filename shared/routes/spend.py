"""Questions about the book. Each row's handler is in the ledger's HTTP API."""

from typing import Any

from shared.routes.forms import CURSOR
from shared.routes.route import Parameter, Route

_OBJECT: dict[str, Any] = {"type": "object"}
_OBJECTS: dict[str, Any] = {"type": "array", "items": _OBJECT}
_DAYS = (Parameter("start_date", "YYYY-MM-DD"), Parameter("end_date", "YYYY-MM-DD, that day included"))


_OWN = frozenset({"own_routes"})
"""What everybody may ask, and is answered from their own rows."""


def _question(
    path: str, summary: str, *query: Parameter, answer: Any = _OBJECTS, groups: frozenset[str] = frozenset()
) -> Route:
    return Route(
        name=path,
        methods=("GET",),
        paths=(path,),
        surface="ledger",
        groups=groups,
        summary=summary,
        query=query,
        answer=answer,
    )


_AUDIT_TEXTS = tuple(
    Parameter(name)
    for name in (
        "table_name", "changed_by", "changed_by_api_key", "action", "object_id", "start_date", "end_date",
        "object_team_id", "object_key_hash", "search", "sort_by", "sort_order",
    )
)  # fmt: skip

_QUERY = (
    Parameter("from", "A day, or an instant in ISO 8601; 30 days ago. Also start_date"),
    Parameter("to", "A day, counted in full, or the first instant that isn't counted; today. Also end_date"),
    Parameter("since", "Instead of from and to: 12h, 30d, 8w"),
    Parameter("time_zone", "IANA name, whose days and hours are meant; UTC"),
    Parameter("bucket", "hour, day, week, month, or none"),
    Parameter("group_by", "tag, team, key, user, organization, model, provider, deployment, upstream_model, call_type, customer, status"),
    Parameter("top", "This many groups, by spend; the rest is one, `other`", type="integer"),
    Parameter("previous", "With the period before", type="boolean"),
    Parameter("format", "json or csv"),
    *(
        Parameter(name, "Only these, separated by commas")
        for name in ("tag", "team", "key", "user", "organization", "model", "provider", "deployment", "upstream_model",
                     "call_type", "customer", "status")
    ),
)  # fmt: skip

_FILTERS = (
    *_DAYS,
    Parameter("model"),
    Parameter("api_key"),
    Parameter("timezone", "IANA name, or minutes west of UTC"),
)
_TAG_FILTERS = (
    Parameter("tag_filter", "Tags with this text in them"),
    Parameter("tag_filters", "These tags alone; several times for several"),
)
_LIMIT = Parameter("limit", type="integer")
_OF_KEYS = (
    ("aggregated", "The same of all days at once", (Parameter("api_key_limit", type="integer"),), _OBJECT),
    ("aggregated/keys", "Which keys it was, most spent first", (Parameter("offset", type="integer"), _LIMIT), _OBJECT),
    (
        "aggregated/search",
        "Those of the keys whose alias has a part",
        (Parameter("search", required=True), _LIMIT),
        _OBJECT,
    ),
    (
        "aggregated/model_top_keys",
        "The keys that spent most on a model",
        (Parameter("model_group", required=True), Parameter("by_model_group", type="boolean"), _LIMIT),
        _OBJECT,
    ),
    ("export", "The same as rows, in CSV or JSON", (Parameter("export_type"), Parameter("format")), None),
)
"""Below `/<entity>/daily/activity`: (end, summary, what it takes besides, answer)."""
_ENTITIES = ("user", "team", "tag", "organization", "customer", "end_user")
_MODEL = Parameter("model_group", required=True)

_ACTIVITY = (
    *(_question(f"/{entity}/daily/activity/{end}", summary, *_FILTERS, *more, answer=answer)
      for entity in _ENTITIES for end, summary, more, answer in _OF_KEYS),
    _question("/team/spend/by_user", "What each user spent in teams", *_DAYS, Parameter("team_ids", required=True), answer=_OBJECT),
    _question("/global/activity", "Calls and tokens a day", *_DAYS, answer=_OBJECT),
    _question("/global/activity/model", "The same, by model", *_DAYS),
    _question("/global/activity/cache_hits", "What the cache answered, by kind of call", *_DAYS, Parameter("key_aliases"),
              Parameter("models"), answer=_OBJECT),
    _question("/global/activity/exceptions", "How often providers refused a model for its rate, a day", _MODEL, *_DAYS, answer=_OBJECT),
    _question("/global/activity/exceptions/deployment", "The same, by deployment", _MODEL, *_DAYS),
    _question("/global/spend/logs", "Spend a day, of the last 30", Parameter("api_key")),
    _question("/global/all_end_users", "Every customer there was a call for", answer=_OBJECT),
    Route(name="/global/spend/end_users", methods=("POST",), paths=("/global/spend/end_users",), surface="ledger", answer=_OBJECTS,
          summary="Spend by customer", request={"type": "object", "properties": {
              name: {"type": ["string", "null"]} for name in ("api_key", "startTime", "endTime")}}),
    *(_question(f"/{name}/spend/report", f"What was spent by key, of one {name}: the caller's own", *_DAYS, Parameter(named))
      for name, named in (("key", "api_key"), ("user", "user_id"), ("team", "team_id"), ("organization", "organization_id"))),
)  # fmt: skip

ROWS = (
    _question("/spend/tags", "What was spent, by tag", *_DAYS, Parameter("tags", "Only these, separated by commas")),
    _question(
        "/spend/logs",
        "Calls, or sums of days",
        *_DAYS,
        Parameter("request_id"),
        Parameter("api_key"),
        Parameter("user_id"),
        Parameter("summarize", type="boolean"),
    ),
    _question("/spend/query", "Spend by any mix of dimensions and times", *_QUERY, answer=_OBJECT, groups=_OWN),
    Route(
        name="POST /spend/query",
        methods=("POST",),
        paths=("/spend/query",),
        surface="ledger",
        groups=_OWN,
        summary="Spend by any mix of dimensions and times, asked in JSON",
        request={"type": "object", "properties": {p.name: {"description": p.description} for p in _QUERY}},
        answer=_OBJECT,
    ),
    _question(
        "/latency/report",
        "How long answered calls took, by day and by model: mean, p50, p95, and to the first byte",
        Parameter("start_date", "YYYY-MM-DD; 30 days ago"),
        Parameter("end_date", "YYYY-MM-DD, that day included"),
        Parameter("model", "Only this one; for who may see every call"),
        answer=_OBJECT,
        groups=_OWN,
    ),
    _question(
        "/audit",
        "Who changed what",
        Parameter("page", type="integer"),
        Parameter("page_size", type="integer"),
        CURSOR,
        *_AUDIT_TEXTS,
        answer=_OBJECT,
    ),
    *(_question(path, "Calls, filtered and in pages", *_DAYS, Parameter("page", type="integer"), Parameter("page_size", type="integer"),
                *(Parameter(name) for name in ("api_key", "user_id", "request_id", "session_id", "team_id", "min_spend", "max_spend",
                  "status_filter", "cache_hit_filter", "model", "model_id", "model_group", "key_alias", "end_user", "error_code",
                  "search", "sort_by", "sort_order", "cursor")), answer=_OBJECT)
      for path in ("/spend/logs/v2", "/spend/logs/ui")),
    _question("/spend/logs/ui/{request_id}", "One call", answer=_OBJECT),
    _question("/spend/logs/session/ui", "The calls of a session", *_DAYS, Parameter("session_id", required=True),
              Parameter("page", type="integer"), Parameter("page_size", type="integer"), answer=_OBJECT),
    Route(name="/spend/calculate", methods=("POST",), paths=("/spend/calculate",), surface="ledger", answer=_OBJECT,
          summary="What a call costs, or would cost", request={"type": "object", "properties": {
              "model": {"type": "string"}, "messages": {"type": "array"}, "completion_response": {"type": "object"}}}),
    Route(name="/cost/estimate", methods=("POST",), paths=("/cost/estimate",), surface="ledger", answer=_OBJECT,
          summary="What calls of so many tokens would cost", request={"type": "object", "properties": {
              "model": {"type": "string"}, **{name: {"type": "integer"} for name in (
                  "input_tokens", "output_tokens", "num_requests_per_day", "num_requests_per_month")}}}),
    *(_question(path, summary, *_DAYS, answer=answer) for path, summary, answer in (
        ("/spend/keys", "What each key spent, ever", _OBJECTS), ("/spend/users", "What each user spent, ever", _OBJECTS),
        ("/global/spend", "What was spent in all", _OBJECT), ("/global/spend/keys", "Spend by key", _OBJECTS),
        ("/global/spend/teams", "Spend by team and day", _OBJECT), ("/global/spend/models", "Spend by model", _OBJECTS),
        ("/global/spend/provider", "Spend by provider", _OBJECTS), ("/global/spend/tags", "Spend by tag", _OBJECT),
        ("/global/spend/all_tag_names", "Every tag there is", _OBJECT),
        ("/global/spend/report", "Spend by day and team, customer or key", _OBJECTS),
    )),
    *(_question(f"/{entity}/daily/activity", f"What was spent a day, by {entity}", *_DAYS, answer=_OBJECT)
      for entity in _ENTITIES),
    *_ACTIVITY,
    _question("/tag/list", "Every tag there is, as LiteLLM's clients ask for them", *_DAYS, groups=_OWN),
    Route(name="/tag/info", methods=("POST",), paths=("/tag/info",), surface="ledger", groups=_OWN, answer=_OBJECT,
          summary="Some tags, by name", request={"type": "object", "required": ["names"], "properties": {
              "names": {"type": "array", "items": {"type": "string"}}}}),
    _question("/tag/summary", "Calls, tokens, spend and users, by tag", *_DAYS, *_TAG_FILTERS, answer=_OBJECT, groups=_OWN),
    *(_question(f"/tag/{name}", f"How many users each tag had, of the last 7 {period}", *_TAG_FILTERS, answer=_OBJECT, groups=_OWN)
      for name, period in (("dau", "days"), ("wau", "weeks"), ("mau", "times 30 days"))),
    _question("/tag/distinct", "Which clients call, by their tag `User-Agent: ...`, the most calls first", answer=_OBJECT, groups=_OWN),
    _question("/tag/user-agent/per-user-analytics", "Calls, tokens and spend by user, of the last 30 days", *_TAG_FILTERS,
              Parameter("page", type="integer"), Parameter("page_size", type="integer"), answer=_OBJECT, groups=_OWN),
    _question("/audit/summary", "How much was changed, refused and blocked", *_DAYS, answer=_OBJECT),
    _question("/audit/{id}", "One entry of the audit log", answer=_OBJECT),
    Route(name="/export", methods=("GET",), paths=("/export",), surface="ledger", answer=_OBJECT, summary="How the last export went"),
    Route(name="POST /export", methods=("POST",), paths=("/export",), surface="ledger", mutates=True, answer=_OBJECT,
          summary="Export the book's days to where the operator said", request={"type": "object", "properties": {
              name: {"type": "string"} for name in ("from", "until", "format")}}),
    _question("/spend/open", "Calls that were opened and haven't ended", Parameter("limit", type="integer"), answer=_OBJECT, groups=_OWN),
    Route(name="/.well-known/tollgate-ledger-keys", methods=("GET",), paths=("/.well-known/tollgate-ledger-keys",), surface="ledger",
          groups=frozenset({"public_routes"}), answer=_OBJECT,
          summary="The keys that sign the book's checkpoints, as a JWKS with each key's statement. For anybody"),
    _question("/checkpoints", "The signed ends of the book's chains, in order", Parameter("after", "A number", type="integer"),
              Parameter("limit", type="integer"), answer=_OBJECT),
    Route(name="/retention", methods=("GET",), paths=("/retention",), surface="ledger", answer=_OBJECT,
          summary="How long things stay, what is held, and what went"),
    Route(name="/retention/hold", methods=("POST",), paths=("/retention/hold",), surface="ledger", mutates=True, answer=_OBJECT,
          summary="Keep rows of a tag, team, key or day past their term", request={"type": "object", "properties": {
              name: {"type": "string"} for name in ("tag", "team", "key", "day", "reason")}}),
    Route(name="/retention/hold/{id}", methods=("DELETE",), paths=("/retention/hold/{id}",), surface="ledger", mutates=True,
          answer=_OBJECT, summary="Lift a hold"),
)  # fmt: skip

"""What a scrape of the edge says after calls, by the names that dashboards use."""

from prometheus_client.registry import REGISTRY

from tests.edge.conftest import Start
from tests.edge.fakes import always, completion, response
from tests.edge.harness import Edge


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_call_is_counted_where_dashboards_look(start: Start) -> None:
    edge: Edge = await start(always(response(completion())))
    route = "/chat/completions"
    names: dict[str, dict[str, str]] = {
        "tollgate_requests_total": {"route": route, "outcome": "success"},
        "tollgate_request_seconds_count": {"route": route},
        "tollgate_overhead_seconds_count": {"route": route},
        "tollgate_facts_total": {},
    }
    before = {name: value(name, **labels) for name, labels in names.items()}
    tokens = {way: value("tollgate_tokens_total", route=route, direction=way) for way in ("input", "output")}
    grants = {source: value("tollgate_grants_total", source=source) for source in ("asked", "cached", "failed")}
    for _ in range(2):
        assert (await edge.chat()).status == 200
    added = {name: value(name, **labels) - before[name] for name, labels in names.items()}
    assert added == {name: 4.0 if name == "tollgate_facts_total" else 2.0 for name in names}
    assert value("tollgate_tokens_total", route=route, direction="input") - tokens["input"] == 20
    assert value("tollgate_tokens_total", route=route, direction="output") - tokens["output"] == 10
    now = {source: value("tollgate_grants_total", source=source) - grants[source] for source in grants}
    assert now == {"asked": 2.0, "cached": 1.0, "failed": 0.0}, "a cold credential is asked for before its body is read"

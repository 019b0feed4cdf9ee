"""The pages' own rules: languages say the same things, nothing said becomes markup, nothing comes
from elsewhere.
"""

import asyncio
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import resources
from string import Formatter
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest

from services.edge.checking import Nobody
from services.edge.config import EdgeSettings
from services.edge.http import Request
from services.edge.pages import charts, render, shown, words
from services.edge.pages.api import AskError
from services.edge.pages.charts import Point
from services.edge.pages.forms import Form, of_query
from services.edge.pages.site import VIEWS, find
from services.edge.pages.view import (
    Input,
    Look,
    Sending,
    Table,
    at,
    axis_money,
    count,
    cursor_pages,
    duration,
    instant,
    link,
    listing,
    money,
    moneys,
)
from services.edge.pages.views import limits, spend
from services.edge.pages.visitor import Visitor
from services.edge.sso.cookies import Origin
from shared.config import parse
from shared.errors import RefusedError

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
VISITOR = Visitor(Origin("http://localhost:4000", False), "en", "sk-session", MARKUP, "proxy_admin")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_language_says_everything(language: str) -> None:
    english, other = words.catalogue("en"), words.catalogue(language)
    assert set(english) == set(other)
    for key, text in english.items():
        assert fields(text) == fields(other[key]), key


def test_a_browsers_language() -> None:
    assert words.preferred("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert words.preferred("de, fr;q=0.5") == words.preferred(None) == words.preferred(";;,,") == "en"


def rendered(values: dict[str, object], template: str = "list.html") -> str:
    nav = [("group.usage", [{"path": "/ui", "key": "nav.overview", "current": True}])]
    common: dict[str, Any] = {
        "heading": MARKUP,
        "visitor": VISITOR,
        "csrf": "c",
        "message": MARKUP,
        "error": MARKUP,
        "nav": nav,
        "crumb": None,
        "cleared": "",
    }
    common["brand"] = {"name": MARKUP, "logo": "", "favicon": ""}
    return render.page(template, {**common, **values}, language="en").body.decode()


class Tags(HTMLParser):
    """Every start tag of a page, as a browser reads it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_markup_is_inert_wherever_it_stands() -> None:
    table = Table(
        columns=[(MARKUP, "")], rows=[[MARKUP], [link(MARKUP, "/ui/keys/x")], [[MARKUP]], [None]], title=MARKUP
    )
    fields_ = [Input(name="a", label=MARKUP, value=MARKUP, hint=MARKUP)]
    sending = Sending(action="/ui/keys/create", fields=fields_, submit=MARKUP, ask=MARKUP)
    chart = {"title": MARKUP, "svg": charts.bars([Point(MARKUP, 1.0, MARKUP)], MARKUP, lambda _: MARKUP)}
    filters = [Input(name="q", label=MARKUP, value=MARKUP)]
    page = rendered(
        listing(
            lead=MARKUP, tables=[table], forms=[sending], facts=[(MARKUP, MARKUP)], blocks=[{"title": MARKUP, "text": MARKUP}],
            cards=[(MARKUP, MARKUP, "")], charts=[chart], filters=filters,
        )
    )  # fmt: skip
    for tag, attributes in Tags(page).found:
        ours = str(attributes.get("src", "")).startswith("/ui/static/")
        assert (tag != "img" or ours) and not (tag == "script" and "src" not in attributes), (tag, attributes)
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    assert page.count("&lt;script&gt;alert(1)") > 15


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    page = rendered(listing())
    for tag, attributes in Tags(page).found:
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            assert value is None or value == "" or value[0] in "/#?", (tag, attributes)
        assert tag != "style" and "style" not in attributes
    for name in ("app.css", "app.js"):
        text = render.static(name).decode()
        assert "http" not in text and "eval(" not in text
    total = sum(len(render.static(name)) for name in render.STATIC_TYPES)
    assert total < 60_000 and len(page) < 60_000
    policy = render.HEADERS
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_a_list_leads_on() -> None:
    """By where the page before ended."""

    def look(query: str) -> Look:
        api: Any = None
        return Look(api, VISITOR, lambda key, **values: words.say("en", key, **values), of_query(query), "/ui/x")

    def shown(pages: Any) -> list[str | None]:
        page = rendered(listing(tables=[Table(columns=[("a", "")], rows=[["b"]], pages=pages)]))
        links = [attributes.get("href") for tag, attributes in Tags(page).found if tag == "a"]
        return [href for href in links if href and href.startswith("/ui/x")]

    assert cursor_pages(look("a=1"), None) is None and cursor_pages(look("a=1"), None, 5) is None
    counted = cursor_pages(look(""), "id-50", 120)
    assert counted is not None and counted.text == "120 in all"
    assert shown(cursor_pages(look("a=1"), "id-50")) == ["/ui/x?a=1&cursor=id-50"]
    assert shown(cursor_pages(look("a=1&cursor=id-50"), "id-99")) == ["/ui/x?a=1", "/ui/x?a=1&cursor=id-99"]
    assert shown(cursor_pages(look("cursor=id-99"), None)) == ["/ui/x"]


def test_the_templates_escape() -> None:
    for path in resources.files("services.edge.pages").joinpath("templates").iterdir():
        text = path.read_text()
        assert set(re.findall(r"\{\{\s*([a-z_.]+)\s*\|\s*safe", text)) <= {"chart.svg", "attrs"}, path.name


def test_addresses_find_their_view() -> None:
    assert find("/ui", "GET") == find("/ui/", "GET")
    one = find("/ui/keys/abc", "GET")
    assert one is not None and (one.path, one.id) == ("/ui/keys/{id}", "abc")
    act = find("/ui/keys/abc/block", "POST")
    assert act is not None and (act.id, act.act) == ("abc", "block")
    made = find("/ui/keys/create", "POST")
    assert made is not None and (made.path, made.act) == ("/ui/keys", "create")
    assert find("/ui/keys/new", "GET").path == "/ui/keys/new"
    assert (
        find("/ui/nothing", "GET") is None and find("/ui/nothing/a", "GET") is None and find("/ui/keysa", "GET") is None
    )
    slashes = find("/ui/users/a/b/delete", "POST")  # ids are people's to choose
    assert slashes is not None and (slashes.id, slashes.act) == ("a/b", "delete")


def test_every_act_is_in_reach_and_every_name_is_said() -> None:
    for path, view in VIEWS.items():
        assert view.nav == "" or view.nav in words.catalogue("en"), path
        for name in view.acts:
            found = find(path.replace("{id}", "x") + "/" + name, "POST")
            assert found is not None and found.view is view and found.act == name


def test_charts_draw_what_is_given() -> None:
    drawn = charts.bars([Point("a", 1.0, "$1"), Point("b", 0.0, "$0"), Point("c", 4.0, "$4")], "t", money)
    heights = [float(each) for each in re.findall(r'class="bar"[^>]*height="([0-9.]+)"', drawn)]
    assert heights[2] == 4 * heights[0] and heights[1] < 1
    assert re.findall(r'class="level"[^>]*>([^<]+)<', drawn) == ["$0.00", "$2.00", "$4.00"], "a scale, with its unit"
    assert charts.bars([], "t", money) == ""
    assert re.findall(r'class="level"[^>]*>([^<]+)<', charts.bars([Point("a", 0.0, "0")], "t", count)) == ["0"]
    many = charts.bars([Point("a rather long name", 1, "1")] * 10_000, "t", count)
    assert many.count("<rect") == charts.POINTS_MAX and many.count('class="tick"') <= charts.TICKS_MAX
    assert "a rather lo…" in many


def test_a_chart_by_day_has_the_days_on_which_nothing_was() -> None:
    today = datetime.now(UTC).date()
    rows = [{"bucket": f"{today}T00:00:00Z", "spend_usd": 3, "requests": 1}]
    filled = spend._every_day(rows, "30d")
    assert len(filled) in (30, 31) and filled[-1]["requests"] in (0, 1), "midnight may pass meanwhile"
    assert sum(row["requests"] for row in filled) == 1
    between = spend._every_day([{"bucket": "2026-02-27", "requests": 5}, {"bucket": "2026-03-02", "requests": 6}], "")
    assert [row["bucket"] for row in between] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert spend._every_day([{"bucket": "odd", "requests": 5}], "") == [{"bucket": "odd", "requests": 5}]


def test_forms() -> None:
    form = of_query("a=1&a=2&b=x%0Ay, z&c=+&d=\0")
    assert (form["a"], form.every("a"), form.lines("b"), form["c"], form["missing"]) == (
        "2",
        ["1", "2"],
        ["x", "y", "z"],
        "",
        "",
    )
    assert form.given("a", "c") == {"a": "2"}
    with pytest.raises(RefusedError):
        of_query("&".join(f"a{n}=1" for n in range(500)))
    assert Form([])["x"] == ""


def test_money_reads_well() -> None:
    assert [money(each) for each in (None, "0", "0.000035", "1234.5", "2")] == [
        "–",
        "$0.00",
        "$0.000035",
        "$1,234.50",
        "$2.00",
    ]
    below = moneys(["20.5", "0.04", None])
    assert [below(each) for each in ("20.5", "0.04", "0.00001", None)] == ["$20.5000", "$0.0400", "<$0.0001", "–"]
    assert [axis_money(each) for each in (0.0, 0.1, 0.0625, 4000.0)] == ["$0", "$0.10", "$0.0625", "$4,000"]


def test_an_axis_ends_at_a_round_number() -> None:
    assert [charts.top_of(each) for each in (0, 0.096, 110, 5, 3.0, 99, 101, 1_000)] == [
        0,
        0.1,
        120,
        6,
        4,
        100,
        120,
        1_000,
    ]


def test_no_secret_is_shown_of_the_configuration() -> None:
    text = """
model_list:
  - {model_name: m, litellm_params: {model: openai/x, api_key: hidden-1, api_base: "http://127.0.0.1:9/v1"}}
general_settings: {master_key: sk-hidden-2-long-enough, alerting: [slack], database_url: "postgresql://u:hidden-3@db/x"}
litellm_settings: {cache: true, cache_params: {type: redis, password: hidden-4}, success_callback: [langfuse]}
"""
    found = shown.of(parse(text, {"SLACK_WEBHOOK_URL": "https://hooks/hidden-5"}))
    assert "hidden" not in repr(found)
    assert [(each.name, each.upstream, each.reason) for each in found.models] == [("m", "openai/x", "")]
    values = {each.name: each for each in found.values}
    assert values["general_settings.alerting"].value == ["slack"]


def test_where_a_setting_comes_from() -> None:
    text = """
model_list: []
general_settings:
  master_key: os.environ/KEY_OF_ALL
  alerting: [slack]
  max_request_size_mb: os.environ/SIZE
litellm_settings: {request_timeout: "${TIMEOUT}", num_retries: 3}
"""
    environ = {
        "KEY_OF_ALL": "sk-hidden-key-of-all",
        "SIZE": "7",
        "TIMEOUT": "70",
        "SLACK_WEBHOOK_URL": "https://hooks/x",
    }
    found = {each.name: each for each in shown.of(parse(text, environ)).values}
    assert found["general_settings.max_request_size_mb"].references == ("os.environ/SIZE",)
    assert found["litellm_settings.request_timeout"].references == ("os.environ/TIMEOUT",)
    assert found["general_settings.master_key"].references == ("os.environ/KEY_OF_ALL",)
    assert found["litellm_settings.num_retries"].references == ()
    assert "hidden" not in repr(found)
    for address in ("nats://u:hidden@h:1", "u:hidden@h", "hidden@h:4222"):
        (url, port) = shown.of_environment(EdgeSettings(edge_port=4321, nats_url=address))
        assert (port.name, port.value, url.value) == ("TOLLGATE_EDGE_PORT", 4321, shown.MASKED)
    assert shown.shown("admin@example.com") == "admin@example.com"


def test_a_day_on_which_nobody_called_has_no_latency() -> None:
    """And of one with calls is said what they took."""
    api: Any = None
    look = Look(api, VISITOR, lambda key, **values: words.say("en", key, **values), of_query(""), "/ui")
    days = [{"bucket": f"2026-03-0{n}T00:00:00Z"} for n in (1, 2)]
    latency = [{"date": "2026-03-02", "p95_ms": 4000.0, "p50_ms": 250.0, "first_byte_mean_ms": 90.0}]
    chart = spend._latency_chart(look, days, latency)["svg"]
    assert re.findall("<title>([^<]+)</title>", chart)[0] == "03-01: –"
    assert "03-02: p95 4.0 s, p50 250 ms, First byte 90 ms" in chart
    assert [duration(each) for each in (None, 0.4, 999.4, 1000, 99_000, 150_000)] == [
        "–", "0 ms", "999 ms", "1.0 s", "99.0 s", "2.5 min",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["t", "a/b", "团队", "a?b=c#d", "../users/alice/delete?x=", "50%"])
async def test_the_address_of_a_thing_is_about_that_thing_whatever_it_is_called(name: str) -> None:
    """A button on the page of a team that somebody named like a path must not act on another."""
    sent = urljoin("http://x/ui/teams/any", at("teams", name, "block"))
    target, loop = sent.removeprefix("http://x").encode(), asyncio.get_running_loop()
    request = Request(Nobody(), loop, "10.0.0.1", "POST", target, {}, 1, True, None)
    found = find(request.path, "POST")
    assert found is not None and (found.path, found.id, found.act) == ("/ui/teams/{id}", name, "block")
    assert request.query == ""


def test_what_should_be_an_instant_and_is_none_is_shown_as_it_is() -> None:
    assert instant(1_774_224_000_000) == "2026-03-23 00:00:00"
    assert [instant(each) for each in (10**30, "soon", [1], None)] == [str(10**30), "soon", "[1]", "–"]


async def limits_of(row: dict[str, Any], **above: Any) -> list[list[Any]]:
    async def policy(route: str, _: dict[str, str]) -> Any:
        found = above[route.split("/")[1]]
        if isinstance(found, AskError):
            raise found
        return found

    api: Any = SimpleNamespace(policy=policy)
    look = Look(api, VISITOR, lambda key, **_: key, of_query(""), "/ui/keys/x")
    return [list(each) for each in (await limits.of_key(look, row)).rows]


async def test_the_narrowest_of_several_limits_holds() -> None:
    team = {"team_info": {"team_alias": "T", "models": ["gpt-*", "claude"], "rpm_limit": 5}}
    row = {"team_id": "t", "user_id": "u", "models": ["gpt-4o", "mini"], "rpm_limit": 9, "max_budget": 2.5}
    found = await limits_of(row, team=team, user=AskError(403, "not yours"))
    assert found[0][1] == "gpt-4o"
    assert found[1][1:] == ["$2.50", "limits.this_key"]
    assert (found[2][1], found[2][2]["text"]) == ("5", "by.team T")
    assert (await limits_of({**row, "models": ["mini", "cheap"]}, team=team, user={}))[0][
        1
    ] == "mini, cheap ∩ gpt-*, claude"
    grouped = {**row, "models": [], "access_group_ids": ["small"]}
    assert (await limits_of(grouped, team={}, user={}))[0][1:] == ["small", "limits.this_key"], "not every model"
    with pytest.raises(AskError):  # what can't be read now isn't no limit
        await limits_of(row, team=AskError(503, "away"), user={})

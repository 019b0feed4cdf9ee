"""What the gateway shows of itself: the page's robots.txt, documentation without a byte from
elsewhere, images and nothing but images.
"""

import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openapi_spec_validator import validate

from services.edge import images as images_
from services.edge import site as sites
from services.edge.http import WholeAnswer
from services.edge.images import Images, kind_of
from services.edge.pages import render
from services.edge.pages.placed import below
from services.edge.site import Site
from shared import errors, routes, subjects
from shared.config import ConfigError
from shared.grant import Denial
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import DecideReply
from shared.settings import SettingsError
from tests.edge.fakes import Answer, Peer, response
from tests.edge.fakes import Provider as FakeServer
from tests.edge.harness import Edge

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest_asyncio.fixture
async def edge() -> AsyncIterator[Edge]:
    """Whoever is asked of policy is refused: nothing here asks."""
    async with Edge({"m": ["mock:x"]}) as edge:
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda _: DecideReply(Denial(errors.no_key(), 1, []))
        yield edge


def set_up(edge: Edge, general: dict[str, Any] | None = None, directory: str = ".", **environ: str) -> Site:
    edge.parts.site = sites.read(general or {}, environ, directory)
    return edge.parts.site


async def get(edge: Edge, path: str, method: str = "GET", host: str = "e") -> Answer:
    async with await edge.connect() as caller:
        await caller.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return await (caller.answer() if method == "GET" else caller.head())


async def test_robots_are_asked_to_stay_away(edge: Edge) -> None:
    """The page's text, to the byte."""
    set_up(edge, {"block_robots": True})
    answer = await get(edge, "/robots.txt")
    assert (answer.status, answer.body) == (200, b"User-agent: *\nDisallow: /")
    assert answer.headers["content-type"].startswith("text/plain")
    set_up(edge, {"block_robots": False})
    assert (await get(edge, "/robots.txt")).status == 404
    with pytest.raises(ConfigError, match="block_robots"):
        set_up(edge, {"block_robots": "true"})


@pytest.mark.parametrize("path", ["/docs", "/", "/redoc"])
async def test_the_documentation_needs_nobody_else(edge: Edge, path: str) -> None:
    set_up(edge, DOCS_TITLE="TotalGPT <b>", DOCS_DESCRIPTION="Sample Company Description")
    page = await get(edge, path)
    assert page.status == 200
    assert b"TotalGPT &lt;b&gt;" in page.body
    assert b"http" not in page.body, "nothing from elsewhere"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    places = re.findall(rb'(?:src|href)="([^"]+)"', page.body)
    assert len(places) >= 3
    for place in places:
        found = await get(edge, place.decode())
        assert found.status == 200, place
        body = gzip.decompress(found.body) if found.headers.get("content-encoding") == "gzip" else found.body
        assert body
    start = await get(edge, places[-1].decode())
    assert b'"/openapi.json"' in start.body


async def test_the_document_is_valid_and_says_what_the_company_says(edge: Edge) -> None:
    set_up(edge, DOCS_TITLE="TotalGPT", DOCS_DESCRIPTION="Sample Company Description")
    document = json.loads((await get(edge, "/openapi.json")).body)
    validate(document)
    assert (document["info"]["title"], document["info"]["description"]) == ("TotalGPT", "Sample Company Description")
    assert "/key/generate" in document["paths"] and "/chat/completions" in document["paths"]
    set_up(edge, DOCS_FILTERED="True")
    filtered = json.loads((await get(edge, "/openapi.json")).body)
    validate(filtered)
    named = {path for row in routes.of_group("openai_routes") for path in row.paths}
    assert set(filtered["paths"]) == {path.replace(":path}", "}") for path in named}
    assert not any(path.startswith(("/key", "/team", "/user", "/audit")) for path in filtered["paths"])
    set_up(edge, DOCS_FILTERED="true")
    assert "/key/generate" in json.loads((await get(edge, "/openapi.json")).body)["paths"], (
        "exactly True, as LiteLLM has it"
    )


async def test_what_is_switched_off_is_not_there(edge: Edge) -> None:
    set_up(edge, NO_DOCS="True")
    assert [(await get(edge, path)).status for path in ("/docs", "/", "/redoc", "/openapi.json")] == [
        404,
        404,
        200,
        200,
    ]
    set_up(edge, NO_REDOC="True")
    assert [(await get(edge, path)).status for path in ("/docs", "/redoc")] == [200, 404]
    set_up(edge, NO_OPENAPI="True")
    assert [(await get(edge, path)).status for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


async def test_other_paths_a_prefix_and_a_way_elsewhere(edge: Edge) -> None:
    set_up(edge, DOCS_URL="/reference", SERVER_ROOT_PATH="/gateway/", ROOT_REDIRECT_URL="/ui")
    assert (await get(edge, "/reference")).status == 200
    page = await get(edge, "/gateway/docs")
    assert page.status == 200 and b'src="/gateway/docs/assets/swagger-ui-bundle.js"' in page.body
    assert b'"/gateway/openapi.json"' in (await get(edge, "/gateway/docs/assets/swagger-start.js")).body
    assert json.loads((await get(edge, "/gateway/openapi.json")).body)["servers"] == [{"url": "/gateway"}]
    assert (await get(edge, "/gateway/health/liveliness")).status == 200
    assert (await get(edge, "/gatewayhealth/liveliness")).status == 404
    for path in ("/", "/gateway", "/gateway/"):
        answer = await get(edge, path)
        assert (answer.status, answer.headers["location"]) == (307, "/ui")
    for wrong in (
        {"DOCS_URL": "docs"},
        {"SERVER_ROOT_PATH": "/a b"},
        {"ROOT_REDIRECT_URL": "javascript:x"},
        {"ROOT_REDIRECT_URL": "/a\r\nb"},
    ):
        with pytest.raises(SettingsError):
            set_up(edge, **wrong)


async def test_pages_stay_below_the_prefix(edge: Edge) -> None:
    set_up(edge, SERVER_ROOT_PATH="/gateway")
    away = await get(edge, "/gateway/ui/keys?q=1", host="localhost")
    assert (away.status, away.headers["location"]) == (303, "/gateway/ui/login?next=/ui/keys")
    for path in ("/gateway/ui/login", "/ui/login"):  # a proxy may have taken it away
        page = (await get(edge, path, host="localhost")).body.decode()
        asked = re.findall(r'\s(?:href|src|action|hx-[a-z-]+)="([^"]*)"', page)
        assert len(asked) > 3 and not [
            each for each in asked if each.startswith("/") and not each.startswith("/gateway/")
        ]
    for asset in {each for each in asked if "/static/" in each}:
        answer = await get(edge, asset)
        assert answer.status == 200 and b'"/ui/' not in answer.body and b'"/v1/' not in answer.body
    script = below(render.file("play.js", gzipped=True), "/gateway")
    assert isinstance(script, WholeAnswer) and b'fetch("/gateway/ui/requests/"' in gzip.decompress(script.body)
    for lines, become in (
        ("Set-Cookie: lang=en; Path=/ui; Max-Age=1\r\n", "Set-Cookie: lang=en; Path=/gateway/ui; Max-Age=1\r\n"),
        ("Set-Cookie: s=1; Path=/; HttpOnly\r\n", "Set-Cookie: s=1; Path=/; HttpOnly\r\n"),
        ("Location: https://idp/ui/x\r\n", "Location: https://idp/ui/x\r\n"),
    ):
        assert below(WholeAnswer(303, lines, b""), "/gateway").headers == become


# ── images ──


async def look(edge: Edge, site: Site, path: str = "/get_image") -> Answer:
    edge.parts.site = site
    edge.parts.images = Images(site, Outbound(OutboundSettings(), Guard(any_address=True)))
    answer = await get(edge, path)
    assert edge.parts.images._outbound is not None
    await edge.parts.images._outbound.close()
    return answer


@pytest.mark.parametrize("path", ["/get_image", "/get_favicon"])
async def test_without_a_logo_there_is_ours(edge: Edge, path: str) -> None:
    answer = await look(edge, Site(), path)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert kind_of(answer.body) == "image/svg+xml"


async def test_only_images_inside_the_folder_are_shown(edge: Edge, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "logo.png").write_bytes(PNG)
    (folder / "config.yaml").write_text("master_key: sk-secret")
    (folder / "large.png").write_bytes(PNG + bytes(images_.BYTES_MAX))
    (tmp_path / "outside.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")

    def named(logo: str) -> Site:
        return sites.read({}, {"UI_LOGO_PATH": logo}, str(folder))

    for inside in ("logo.png", str(folder / "logo.png"), "../config/logo.png"):
        answer = await look(edge, named(inside))
        assert (answer.headers["content-type"], answer.body) == ("image/png", PNG)
    for other in (
        "config.yaml",
        "../outside.png",
        str(tmp_path / "outside.png"),
        "link.png",
        "large.png",
        "/etc/passwd",
        "no.png",
    ):
        assert (await look(edge, named(other))).body == images_.DEFAULT_LOGO, other
    shown = await look(edge, named("logo.png"), "/get/ui_theme_settings")
    assert shown.json()["values"] == {"logo_url": None, "favicon_url": None}, "where a file lies is nobody's business"


def says(data: bytes, asked: list[bytes]) -> Any:
    async def script(peer: Peer) -> None:
        while True:
            asked.append(await peer.reader.readuntil(b"\r\n\r\n"))
            await peer.send(data)

    return script


async def test_an_address_is_asked_once_and_only_an_image_comes_of_it(edge: Edge) -> None:
    asked: list[bytes] = []
    async with FakeServer(says(response(PNG, kind="text/html"), asked)) as server:
        url = server.url.removesuffix("/v1") + "/logo"
        site = sites.read({}, {"LITELLM_FAVICON_URL": url}, ".")
        edge.parts.site = site
        edge.parts.images = Images(site, Outbound(OutboundSettings(), Guard(any_address=True)))
        for _ in range(3):
            answer = await get(edge, "/get_favicon")
            assert (answer.headers["content-type"], answer.body) == ("image/png", PNG)
        assert len(asked) == 1
        assert (await get(edge, "/get/ui_theme_settings")).json()["values"]["favicon_url"] == url
        assert edge.parts.images._outbound is not None
        await edge.parts.images._outbound.close()
    async with FakeServer(says(response(b"<html><script>alert(1)</script>", kind="image/png"), asked)) as server:
        site = sites.read({}, {"LITELLM_FAVICON_URL": server.url}, ".")
        assert (await look(edge, site, "/get_favicon")).body == images_.DEFAULT_ICON


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"), (b"RIFF0000WEBPVP8 ", "image/webp"),
        (b"\0\0\x01\0\x01\0", "image/x-icon"), (b"<svg xmlns=''/>", "image/svg+xml"), (b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
        (b"<html><svg>", None), (b"", None), (b"master_key: sk-1", None), (b"<?xml?><rss/>", None),
    ],
)  # fmt: skip
def test_what_is_an_image(data: bytes, kind: str | None) -> None:
    assert kind_of(data) == kind


async def test_the_hub_says_what_it_is(edge: Edge) -> None:
    set_up(edge, DOCS_TITLE="TotalGPT", DOCS_DESCRIPTION="D")
    found = (await get(edge, "/public/model_hub/info")).json()
    assert set(found) == {"docs_title", "custom_docs_description", "litellm_version", "useful_links"}
    assert (found["docs_title"], found["custom_docs_description"]) == ("TotalGPT", "D")

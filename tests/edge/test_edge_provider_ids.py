"""What the provider calls a request is in the call's fact: of the last attempt, also of one that
failed.
"""

import pytest

from services.edge import provider_ids
from services.edge.routing.plan import Rules
from services.edge.routing.settings import RoutingSettings
from tests.edge.conftest import Start
from tests.edge.fakes import completion, response
from tests.edge.harness import told
from tests.edge.test_edge_reliability import failing, in_turn

pytestmark = pytest.mark.usefixtures("impatient")
NAMED = response(completion(), extra="x-request-id: req_ok\r\n")
FAILED = failing("503 X", "x-request-id: req_no\r\n")


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ([NAMED], "req_ok"),
        ([response(completion())], None),
        ([FAILED], "req_no"),
        ([FAILED, NAMED], "req_ok"),
        ([FAILED, response(completion())], None),
        ([FAILED, b""], None),
    ],
    ids=["answered", "unnamed", "failed", "second", "second unnamed", "second says nothing"],
)
async def test_the_last_attempts_is_in_the_book(start: Start, answers: list[bytes], wanted: str | None) -> None:
    edge = await start(in_turn(*answers))
    edge.parts.routing = RoutingSettings(Rules(retries=len(answers) - 1))
    await edge.chat()
    assert (await told(edge))[1].provider_request_id == wanted


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([(b"request-id", b"req_a")], "req_a"),
        ([(b"cf-ray", b"1-FRA"), (b"x-amzn-requestid", b"aws")], "aws"),
        ([(b"cf-ray", b"1-FRA"), (b"x-request-id", b"req_b")], "req_b"),
        ([(b"x-request-id", b"")], None),
        ([(b"x-request-id", b"\xff")], None),
        ([(b"x-request-id", b"x" * 257)], None),
        ([(b"content-type", b"x")], None),
    ],
)
def test_which_header_names_it(headers: list[tuple[bytes, bytes]], wanted: str | None) -> None:
    assert provider_ids.in_head(dict(headers)) == wanted
    assert provider_ids.in_strings([(n.decode(), v.decode("latin-1")) for n, v in headers]) == wanted

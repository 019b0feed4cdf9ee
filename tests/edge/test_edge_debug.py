"""`--detailed_debug` shows the request as the provider gets it, without its credentials; without
the flag nothing is shown.
"""

import pytest
from structlog.testing import capture_logs

from shared import logging
from tests.edge.conftest import Start
from tests.edge.fakes import always, completion, response

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.parametrize("flag", [True, False])
async def test_the_request_is_shown_with_its_credentials_masked(
    start: Start, monkeypatch: pytest.MonkeyPatch, flag: bool
) -> None:
    monkeypatch.setattr(logging, "_detailed", flag)
    edge = await start(always(response(completion())))
    with capture_logs() as lines:
        answer = await edge.chat(messages=[{"role": "user", "content": "what is said"}])
    assert answer.status == 200
    shown = [line for line in lines if line["event"] == "POST Request Sent"]
    assert len(shown) == (1 if flag else 0)
    assert "sk-of-the-provider-0000" not in str(lines)
    if flag:
        (line,) = shown
        assert line["url"].endswith("/chat/completions") and "what is said" in line["body"]
        assert line["headers"]["authorization"] == "Bearer sk-o" + "*" * 16

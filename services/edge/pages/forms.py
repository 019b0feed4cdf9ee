"""What a browser sends: a form, or a query."""

from urllib.parse import parse_qsl

from services.edge import reading
from services.edge.http import Request
from shared import errors
from shared.errors import RefusedError

FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 200


class Form:
    """The fields of a form, or of a query. A field that is missing is empty."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs
        self._last = dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._last.get(name, "").strip()

    def exact(self, name: str) -> str:
        """With the spaces around it: they are part of a password."""
        return self._last.get(name, "")

    def lines(self, name: str) -> list[str]:
        """A field with one entry a line, or with commas between."""
        return [each for part in self[name].replace(",", "\n").splitlines() if (each := part.strip())]

    def every(self, name: str) -> list[str]:
        """All values of a field that may come several times."""
        return [value for key, value in self.pairs if key == name and value]

    def given(self, *names: str) -> dict[str, str]:
        """Those of these fields that aren't empty."""
        return {name: self[name] for name in names if self[name]}


def of_query(query: str) -> Form:
    return Form(_pairs(query))


async def read(request: Request, timeout_ms: int) -> Form:
    """Raises RefusedError for what is no form of a browser's."""
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(errors.bad_request("A form is needed (application/x-www-form-urlencoded)"))
    raw = await reading.body(request, FORM_BYTES_MAX, timeout_ms)
    try:
        return Form(_pairs(raw.decode()))
    except UnicodeDecodeError:
        raise RefusedError(errors.bad_request("The form is not valid UTF-8")) from None


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return [
            (name, value.replace("\0", ""))
            for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
        ]
    except ValueError:
        raise RefusedError(errors.bad_request(f"There are more than {FIELDS_MAX} fields")) from None

"""Pages below SERVER_ROOT_PATH: browsers ask for what a page names below the prefix, whether a
proxy takes it away or not. Pure.
"""

import gzip
import re

from services.edge.http import Answer, WholeAnswer

_ADDRESSES = re.compile(rb"""(\s(?:href|src|action|formaction|hx-[a-z-]+|data-[a-z-]+)=")/(?!/)""")
"""Quotes of a text are escaped, so these are attributes."""
_IN_SCRIPTS = re.compile(rb'"/(ui|v1)/')
_LINES = re.compile(r"^(Location: |Set-Cookie: [^\r\n]*?; Path=)/(ui|sso|docs)(?=[/?;\r])", re.MULTILINE)


def below(answer: Answer, root: str) -> Answer:
    """
    Args:
        root: the prefix, without a slash at its end; empty: there is none.
    """
    if not root or not isinstance(answer, WholeAnswer):
        return answer
    prefix, kind = root.encode(), answer.headers
    answer.headers = _LINES.sub(rf"\g<1>{root}/\g<2>", answer.headers)
    if "text/html" in kind:
        pattern, instead = _ADDRESSES, rb"\g<1>" + prefix + b"/"
    elif "text/javascript" in kind:
        pattern, instead = _IN_SCRIPTS, b'"' + prefix + rb"/\g<1>/"
    else:
        return answer
    is_packed = "Content-Encoding: gzip" in kind
    body = pattern.sub(instead, gzip.decompress(answer.body) if is_packed else answer.body)
    answer.body = gzip.compress(body, 5) if is_packed else body
    return answer

"""The engine with vendors' rules: kingfisher, in this process, with its own rules and ours
(shapes.yml), matched by Vectorscan.

Only its scanner is used: the library could also ask vendors whether a secret is live, and nothing
here ever does.
"""

import re
from pathlib import Path
from typing import Any

from services.moderation.secrets import values
from services.moderation.secrets.spans import Span

SHAPES = Path(__file__).with_name("shapes.yml")
_NO_SECRETS = re.compile(
    r"(?:client-id|account-id|application-id|tenant-id|access-id|key-id|token-id|account-name|-name|-host|-url|-domain|-username|"
    r"public-key|pub-key|-address|url-id|auth-id|cloud-name|planetscale-id|access-key-id|api-id|-domain|repository)(?:\.\d+)?$"
)
"""Rules of what belongs to a secret, and is none."""
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+]{1,20}://[^\s/@]{0,128}:[^\s/]{3,256}@\w")
_OPENAI = "tollgate.openai-api-key"


class Vendor:
    """Takes half a second to make from a prepared cache, several without; a scan may run in a
    thread.
    """

    def __init__(self, cache_dir: str | None) -> None:
        """`cache_dir`: where the compiled rules are kept, private to this account; None: not at
        all.
        """
        from kingfisher_sdk import Rules, Scanner  # noqa: PLC0415 - 140 MB, where hide_secrets is enabled

        rules = Rules([SHAPES], confidence="low", cache=cache_dir is not None, cache_dir=cache_dir)
        self.cache_status: str = rules.cache_status
        self._scanner: Any = Scanner(rules, redact=False, dedup=False)

    def find(self, data: bytes) -> list[Span]:
        """Raises what the engine raises; never a part of its findings."""
        spans = []
        for finding in self._scanner.scan(data):
            rule: str = finding.rule_id
            if _NO_SECRETS.search(rule):
                continue
            at = finding.location
            if at["line"] != at["end_line"]:
                continue  # blocks of several lines are ours (blocks.py)
            secret: str = finding.secret
            if not _holds(rule, secret, data, at["start_offset"]):
                continue
            name = finding.rule_name if rule.startswith("tollgate.") else _title(rule)
            spans.append(Span(at["start_offset"], at["end_offset"], name))
        return spans


def _holds(rule: str, secret: str, data: bytes, start: int) -> bool:
    if rule.startswith(_OPENAI):
        # `sk-` begins words of other kinds, too (`sk-learn`): a digit, as LiteLLM's detector wants,
        # and no words.
        tail = secret[3:]
        end = start + len(secret.encode())
        goes_on = data[end : end + 4].lstrip(b"-_").startswith(b"...")
        if goes_on or ("your" in tail.lower() and values.is_placeholder(secret)):
            return False  # a key's beginning
        return any(c.isdigit() for c in tail) and not tail.lower().startswith(("learn", "image", "ssh-", "ecdsa-"))
    if rule.startswith("tollgate.okta"):
        return _mixed(secret) and not re.fullmatch(r"[0-9a-fA-F]+", secret)
    if rule.startswith("tollgate.recovery-code"):
        return values.is_mixed(secret) or values.is_drawn(secret, 8)
    if _WITH_PASSWORD.match(secret):
        return False  # structures.py hides the password alone
    if values.is_placeholder(secret) and len(set(secret)) < 12:
        return False
    if start and data[start - 1 : start] in (b"/", b"+") and re.fullmatch(r"[A-Za-z0-9]+", secret):
        return rule.startswith(
            "tollgate."
        )  # inside base64, or a path: what has a long prefix of its own counts there, too
    return True


def _mixed(secret: str) -> bool:
    return (
        any(c.isupper() for c in secret) and any(c.islower() for c in secret) and any(c.isdigit() for c in secret[2:])
    )


def _title(rule: str) -> str:
    return rule.rpartition("/")[2].removeprefix("betterleaks.").partition(".")[0].replace("-", " ").title()

"""Llama Guard's prompts, by version, as its model cards describe them. Pure, but for reading the
operator's file of categories.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shared.config import ConfigError

VERSIONS = (1, 2, 3)
FILE_BYTES_MAX = 64 * 1024

_NAMES = {
    1: [
        "O1: Violence and Hate.", "O2: Sexual Content.", "O3: Criminal Planning.", "O4: Guns and Illegal Weapons.",
        "O5: Regulated or Controlled Substances.", "O6: Self-Harm.",
    ],
    2: [
        "S1: Violent Crimes.", "S2: Non-Violent Crimes.", "S3: Sex-Related Crimes.", "S4: Child Sexual Exploitation.",
        "S5: Specialized Advice.", "S6: Privacy.", "S7: Intellectual Property.", "S8: Indiscriminate Weapons.", "S9: Hate.",
        "S10: Suicide & Self-Harm.", "S11: Sexual Content.",
    ],
    3: [
        "S1: Violent Crimes.", "S2: Non-Violent Crimes.", "S3: Sex Crimes.", "S4: Child Exploitation.", "S5: Defamation.",
        "S6: Specialized Advice.", "S7: Privacy.", "S8: Intellectual Property.", "S9: Indiscriminate Weapons.", "S10: Hate.",
        "S11: Self-Harm.", "S12: Sexual Content.", "S13: Elections.", "S14: Code Interpreter Abuse.",
    ],
}  # fmt: skip
_MARKS = re.compile(
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:BEGIN|END) (?:UNSAFE CONTENT CATEGORIES|CONVERSATION)>",
    re.IGNORECASE,
)
"""What a conversation must not say in the prompt's own voice."""


class Turn(msgspec.Struct, frozen=True):
    role: str
    """user or assistant; what a system or a tool said counts as the user's."""
    text: str


def version_of(model: str) -> int:
    """By the model's name; what says no version is the first."""
    found = re.search(r"guard-?_?([23])", model.lower())
    return int(found[1]) if found else 1


def categories_from(file: str | None, directory: str) -> str | None:
    """The text of the operator's file. Raises ConfigError."""
    if file is None:
        return None
    path = Path(directory) / file
    try:
        text = path.read_bytes()[: FILE_BYTES_MAX + 1]
        if len(text) > FILE_BYTES_MAX:
            raise ConfigError(f"llamaguard_unsafe_content_categories: {path} is larger than {FILE_BYTES_MAX} bytes")
        found = text.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"llamaguard_unsafe_content_categories: {path} can't be read: {type(error).__name__}"
        ) from None
    if not found:
        raise ConfigError(f"llamaguard_unsafe_content_categories: {path} is empty")
    return found


def render(turns: Sequence[Turn], judged: str, version: int, categories: str | None) -> str:
    """The prompt whose answer is the verdict on the last message of `judged` (User or Agent)."""
    names = {"user": "User", "assistant": "Agent"}
    said = "\n\n".join(f"{names[turn.role]}: {_MARKS.sub(' ', turn.text).strip()}" for turn in turns)
    listed = categories if categories is not None else "\n".join(_NAMES[version])
    if "<BEGIN UNSAFE CONTENT CATEGORIES>" in listed:  # a file may have the marks around its list, as LiteLLM's example
        listed = (
            listed.partition("<BEGIN UNSAFE CONTENT CATEGORIES>")[2]
            .partition("<END UNSAFE CONTENT CATEGORIES>")[0]
            .strip()
        )
    only = "" if version == 1 else "ONLY THE LAST "
    task = (
        f"Task: Check if there is unsafe content in '{judged}' messages in conversations according our safety policy with the below "
        f"categories.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\n{listed}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
        f"<BEGIN CONVERSATION>\n\n{said}\n\n<END CONVERSATION>\n\n"
        f"Provide your safety assessment for {only}{judged if version > 1 else repr(judged)}{' message' if version > 1 else ''} in the above "
        "conversation:\n- First line must read 'safe' or 'unsafe'.\n"
        "- If unsafe, a second line must include a comma-separated list of violated categories."
    )
    if version == 1:
        return f"[INST] {task} [/INST]"
    return (
        f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{task}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )

"""Finding secrets in text: where they stand, and of what type. No network, nothing kept.

    values.py      is this value a secret, or a word, a name, a placeholder, code?
    phrases.py     words that are a password together
    words.py       names of secrets; abroad.py those of other languages
    shapes.yml     tokens that say what they are: vendors' prefixes
    linear.py      patterns that read any text in linear time (RE2)
    gate.py        where a text is worth looking at: a name of a secret with what may be a value (RE2, linear)
    assigned.py    what stands behind `password =`, `"apiKey":`, `--token`, `the secret is`
    naming.py      how strongly a name says secret
    structures.py  URLs with passwords, Authorization headers, JWTs, commands
    blocks.py      private keys and phrases of many words
    near.py        what looks drawn, near a word that says secret; beside.py: or beside what takes one
    places.py      what a format or a dialogue has in one place: a router's lines, Redis' users, what `expect` sends
    columns.py     tables: a header says what stands below it
    vendor.py      an engine with some 480 rules of vendors (kingfisher)
    engine.py      all of them over one text: spans, none overlapping another

All work on UTF-8 bytes. A rule of ours is tried where one of its literals stands (Aho-Corasick), in
the regions that the gate lets through.
"""  # noqa: W505

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path


@cache
def rules_version() -> str:
    """Twelve digits that change with any rule, ours or the engine's."""
    digest = hashlib.sha256(importlib.metadata.version("kingfisher-secret-scanner").encode())
    for file in sorted(Path(__file__).parent.iterdir()):
        if file.suffix in (".py", ".yml"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]

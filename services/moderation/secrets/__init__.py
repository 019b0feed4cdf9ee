"""Finding secrets in text: where they stand, and of what type. No network, nothing kept.

    values.py      is this value a secret, or a word, a name, a placeholder, code?
    shapes.py      tokens that say what they are: vendors' prefixes
    assigned.py    what stands behind `password =`, `"apiKey":`, `--token`, `the secret is`
    structures.py  private keys, URLs with passwords, Authorization headers, JWTs
    vendor.py      an engine with some 480 rules of vendors (kingfisher)
    engine.py      all of them over one text: spans, none overlapping another

All work on UTF-8 bytes: literals are searched for once (Aho-Corasick), and a rule is only tried where one of its literals stands.
"""

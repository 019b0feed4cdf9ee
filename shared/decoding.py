"""What goes wrong when somebody else's bytes are decoded."""

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that aren't what they should be. No text and endless nesting are
unreadable too.
"""

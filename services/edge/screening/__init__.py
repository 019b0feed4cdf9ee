"""Asking moderation, and what the edge does with a verdict.

slices.py    texts in questions that fit a bus message
under.py     the names that values stand under
screening.py what the guardrails say of one request and its answer; redactions put in their places
keywords.py  which texts hold none of a list's words, so that they needn't be asked about
window.py    a stream, held back where it may be the start of something
counting.py  tokens, where a provider gave no usage
"""

from services.edge.screening.counting import count_tokens
from services.edge.screening.screening import UNSCREENED, CutError, Screening
from services.edge.screening.window import StreamWindow

__all__ = ["UNSCREENED", "CutError", "Screening", "StreamWindow", "count_tokens"]

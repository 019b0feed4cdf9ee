"""Refusals: one closed list of codes, each with its status, type and wording, rendered in OpenAI's
error shape.

The code crosses the bus and goes into facts and metrics; the prose is for people. Wordings are
LiteLLM's where it has one. No refusal carries a raw key, a stack trace, or what a provider said
unless that was meant for the client.
"""

from shared.errors.caller import *  # noqa: F403 - one function a refusal: they are listed where they stand
from shared.errors.permission import *  # noqa: F403 - one function a refusal: they are listed where they stand
from shared.errors.refusal import DECISION as DECISION
from shared.errors.refusal import Refusal as Refusal
from shared.errors.refusal import RefusedError as RefusedError
from shared.errors.refusal import render as render
from shared.errors.request import *  # noqa: F403 - one function a refusal: they are listed where they stand
from shared.errors.unavailable import *  # noqa: F403 - one function a refusal: they are listed where they stand

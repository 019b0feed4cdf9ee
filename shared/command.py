"""What commands have in common."""

import os
import sys
from collections.abc import Callable


def run(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Its exit status. Who reads what it says may have stopped reading (`| head`, or a command that
    ended): then it ends, without more ado.
    """
    try:
        try:
            return command(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed at the end
        return 1

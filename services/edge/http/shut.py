"""A listening socket that takes no new connections and loses none.

Closing one resets the clients whose handshake is under way: for them the connection exists already,
and a request may be on it. So first a filter drops every SYN (the client sends it again a second
later, and is refused then, with nothing lost), handshakes end, and whoever is in the queue can be
accepted. The socket is closed after that.
"""

import ctypes
import socket
import struct
import sys

import structlog

log = structlog.get_logger()

_SO_ATTACH_FILTER = 26
_SYN = 0x02
_FLAGS_AT = 13
"""In a TCP header."""
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
"""Classic BPF: `ldb [k]`, `jset k`, `ret k`."""
_PROGRAM = (
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_JUMP_IF_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)
"""(code, jump if true, jump if false, k)"""


def shut(listening: socket.socket) -> None:
    """Where the system can; elsewhere handshakes go on beginning until it is closed."""
    if not sys.platform.startswith("linux"):
        return
    steps = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM))
    program = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(steps))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        log.warning("handshakes_may_be_cut", error=str(error))

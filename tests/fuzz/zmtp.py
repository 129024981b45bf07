"""ZeroMQ's wire by hand (ZMTP 3.0, without encryption): what no ZeroMQ library would send."""

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
PLAIN_PEERS = {"ledger_port": b"DEALER", "weights_port": b"DEALER", "policy_port": b"SUB"}


def ready(kind: bytes) -> bytes:
    """The command that ends a handshake."""
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    body += b"\x08Identity" + struct.pack(">I", 0)
    return b"\x04" + bytes([len(body)]) + body


def frame(content: bytes, *, more: bool = False) -> bytes:
    """One frame of a message."""
    if len(content) < 256:
        return bytes([more, len(content)]) + content
    return bytes([more | 2]) + struct.pack(">Q", len(content)) + content


def connected(port: int, kind: bytes) -> socket.socket:
    """A connection after its handshake."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    opened.sendall(GREETING + ready(kind))
    heard = b""
    while b"Socket-Type" not in heard:  # messages before the other side's command end the connection
        heard += opened.recv(1000)
    return opened


def send_until_cut(opened: socket.socket, chunk: bytes, max_bytes: int) -> int:
    """Send `chunk` again and again; how many bytes were taken before the other side took no more."""
    sent = 0
    opened.settimeout(5)
    try:
        while sent < max_bytes:
            sent += opened.send(chunk)
    except OSError:
        pass
    finally:
        opened.close()
    return sent

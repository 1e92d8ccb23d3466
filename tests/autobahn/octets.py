"""Strings with one character per octet on the side of the cases, octets on the side of the WebSocket library.

`convert.py` puts this module into the converted suite, where it also takes the place of `binascii`.
"""

import binascii
from pathlib import Path


def octets(data):
    """What a Python 2 string held."""
    return data.encode("latin-1") if isinstance(data, str) else data


def b2a_hex(data):
    return binascii.b2a_hex(octets(data)).decode("ascii")


def beside(name):
    """A file of the suite that is no module."""
    return str(Path(__file__).resolve().parent / name)


def text(data):
    """Octets in a report, which is JSON."""
    return data.decode("utf-8", "backslashreplace")


class Boundary:
    """Stands between the fuzzing protocol and the library's protocol."""

    def sendFrame(self, opcode, payload=b"", **options):
        super().sendFrame(opcode, octets(payload), **options)

    def sendMessage(self, payload, *args, **options):
        super().sendMessage(octets(payload), *args, **options)

    def sendMessageFrameData(self, payload, *args, **options):
        return super().sendMessageFrameData(octets(payload), *args, **options)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, octets(reasonUtf8), isReply)

    def _onMessage(self, payload, isBinary):
        super()._onMessage(payload.decode("latin-1"), isBinary)

    def _onPong(self, payload):
        super()._onPong(payload.decode("latin-1"))

"""Makes the fuzzing client of Autobahn|Testsuite run under Python 3.

    python convert.py TESTSUITE-SDIST AUTOBAHN-SDIST FOLDER

The suite is written for Python 2, where a string literal is a row of octets. Under Python 3 its sources are read as
Latin-1, so that every literal becomes a string with one character per octet, the same ones as before: the cases stay
as they are, down to the last escape, and `octets.py` turns characters into octets and back where the cases meet the
WebSocket library. What lib2to3 cannot know is edited below, each edit with the number of places it must find, so that
another version of the suite fails here and not halfway through a run.

Left out: every mode but the fuzzing client, TLS, and HTML reports.
"""

import re
import shutil
import sys
import tarfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore", DeprecationWarning)
from lib2to3.refactor import RefactoringTool  # noqa: E402

HERE = Path(__file__).resolve().parent

FIXERS = [
    f"lib2to3.fixes.fix_{name}"
    for name in ("dict", "except", "has_key", "numliterals", "print", "raise", "xrange")
]

# What is needed of the suite; the cases come on top.
MODULES = ("_version.py", "caseset.py", "fuzzing.py")

# Case 9.9.1 is in no list of the suite, and it does not load without zope.interface's Python 2 syntax.
CASES_LEFT_OUT = ("case9_9_1",)

# Per file: pattern, replacement, how often.
EDITS = {
    "fuzzing.py": [
        (r"^(import os, json), binascii, (time, textwrap), pkg_resources$", r"\1, \2", 1),
        (r"^(from twisted\.internet import reactor), ssl$", r"\1\nfrom . import octets as binascii", 1),
        (r"\bssl\.ClientContextFactory\(\)", "None", 1),
        # The two helpers that describe payloads for the report.
        (r"(def asciiLogData\(.*\):\n( +)ellipses = )(\".*\")$", r"\1b\3\n\2data = binascii.octets(data)", 1),
        (r"''(\.join\(payload\))", r"b''\1", 1),
        # Where cases and library meet.
        (r"^class FuzzingProtocol:$", "class FuzzingProtocol(binascii.Boundary):", 1),
        # Reports in JSON only, without the style sheets of the others; what is left of octets in them is text.
        (r"^from report import (.*\\\n)+.*$", "", 1),
        (r"(def createReports\(self, produceHtml = )True", r"\1False", 1),
        (r"(json\.dumps\(case, )", r"\1default = binascii.text, ", 1),
    ],
    "case/__init__.py": [
        (rf"^from \.({'|'.join(CASES_LEFT_OUT)}) import \*$", "", len(CASES_LEFT_OUT)),
    ],
    # Equality is meant. Pickles of equal values differ under Python 3 when one of them has the same string twice.
    "case/case.py": [(r"pickle\.dumps\((obj[12])\)", r"repr(\1)", 2)],
    "case/case6_x_x.py": [(r"v\.validate\((.*)\)$", r"v.validate(binascii.octets(\1))", 1)],
    "case/case12_x_x.py": [
        (r"^(import copy, os), pkg_resources, (hashlib), binascii$", r"\1, \2\nfrom .. import octets as binascii", 1),
        (r"pkg_resources\.resource_filename\(\"autobahntestsuite\", (.*)\)$", r"binascii.beside(\1)", 3),
        (r"^(def onMessage\(self, msg, binary\):)$", r"\1\n   msg = binascii.octets(msg)", 1),
        (r"binascii\.hexlify\((\w+)\), binascii\.hexlify", r"binascii.b2a_hex(\1), binascii.b2a_hex", 1),
    ],
    "case/case10_1_1.py": [(r" / (self\.p\.autoFragmentSize)", r" // \1", 1)],
    # The library: it knows Python 3 already, but for this division.
    "websocket/protocol.py": [(r"payload_len / (len\(payload\))", r"payload_len // \1", 1)],
}

# For every file of the suite, as often as they occur.
EVERYWHERE = [
    (r"^from (case\w*|caseset) import", r"from .\1 import"),
    (r"^import binascii$", "from autobahntestsuite import octets as binascii"),
    # No class can have `object` before one of its children.
    (r"^( +)\(object, Case, ?\)", r"\1(Case, )"),
]


def edit(name, text):
    for pattern, replacement, times in EDITS.get(name, ()):
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if found != times:
            sys.exit(f"convert.py: {name}: {pattern} found {found} times instead of {times}")
    return text


def convert(name, octets, tool):
    """One file of the suite: Python 2 octets to Python 3 octets."""
    text = octets.decode("latin-1").replace("\r\n", "\n")
    text = re.sub(r"\A(.*\n)?# coding=utf-8$", r"\1# coding=latin-1", text, flags=re.MULTILINE)
    text = str(tool.refactor_string(text + "\n", name))
    for pattern, replacement in EVERYWHERE:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    text = edit(name, text)
    if not text.isascii() and "# coding=latin-1\n" not in "".join(text.splitlines(True)[:2]):
        sys.exit(f"convert.py: {name} has octets beyond ASCII and does not say what they are")
    return text.encode("latin-1")


def members(sdist, package):
    """The Python files of a package in a source archive, and what the cases send: path below the package, content."""
    with tarfile.open(sdist) as archive:
        for member in archive:
            parts = Path(member.name).parts
            wanted = parts[-1].endswith(".py") or parts[2:3] == ("testdata",)
            if member.isfile() and parts[1:2] == (package,) and wanted:
                yield "/".join(parts[2:]), archive.extractfile(member).read()


def main(testsuite, autobahn, folder):
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    tool = RefactoringTool(FIXERS)
    wanted = {}
    for name, octets in members(testsuite, "autobahntestsuite"):
        case = name.startswith("case/") and Path(name).stem not in CASES_LEFT_OUT
        if name.startswith("testdata/"):
            wanted[f"autobahntestsuite/{name}"] = octets
        elif case or name in MODULES:
            wanted[f"autobahntestsuite/{name}"] = convert(name, octets, tool)
    for name, octets in members(autobahn, "autobahn"):
        if not name.startswith("asyncio/"):
            wanted[f"autobahn/{name}"] = edit(name, octets.decode()).encode()
    missing = {f"autobahntestsuite/{name}" for name in (*MODULES, *EDITS)} - wanted.keys()
    missing.discard("autobahntestsuite/websocket/protocol.py")
    if missing:
        sys.exit(f"convert.py: not in the archives: {', '.join(sorted(missing))}")
    wanted["autobahntestsuite/__init__.py"] = b"from ._version import __version__ as version\n"
    wanted["autobahntestsuite/octets.py"] = (HERE / "octets.py").read_bytes()
    for name, octets in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
        if name.startswith("autobahntestsuite/") and name.endswith(".py"):
            compile(octets, name, "exec")


if __name__ == "__main__":
    main(*sys.argv[1:])

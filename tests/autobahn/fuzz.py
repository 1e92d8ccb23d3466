"""Runs cases of the converted suite against a server and says how they went.

    python fuzz.py SUITE REPORTS URL SECTION...

A section is a number (`9`), a part of one (`9.1`) or a case (`9.1.6`). One line for every case that is not OK, and a
summary; the exit status is 1 when a case has failed. REPORTS gets the suite's own reports and the log.
"""

import contextlib
import json
import shutil
import sys
import warnings
from pathlib import Path

AGENT = "server"
PASSED = ("OK", "INFORMATIONAL")


def patterns(sections, known):
    """The suite's patterns for these sections."""
    for section in sections:
        if section in known:
            yield section
        elif any(case.startswith(section + ".") for case in known):
            yield section + ".*"
        else:
            sys.exit(f"fuzz.py: there is no section {section}")


def run(url, sections, reports):
    """Everything the suite says goes to the log. Answers the cases that were to run and how many errors there were."""
    import txaio

    txaio.use_twisted()
    from twisted.internet import reactor
    from twisted.python import log

    from autobahntestsuite import fuzzing

    cases = fuzzing.CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases, {}, {})
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": AGENT, "url": url}],
        "cases": list(patterns(sections, cases.CasesIndices)),
    }
    errors = []
    with (reports / "fuzz.log").open("w") as sink, contextlib.redirect_stdout(sink):
        log.startLoggingWithObserver(log.FileLogObserver(sink).emit, setStdout=False)
        log.addObserver(lambda event: errors.append(event) if event["isError"] else None)
        fuzzing.startClient(spec)
        reactor.run()
    return cases.parseSpecCases(spec), len(errors)


def main(suite, reports, url, *sections):
    warnings.simplefilter("ignore")
    sys.path.insert(0, suite)
    reports = Path(reports)
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    planned, errors = run(url, sections, reports)
    index = reports / "index.json"
    results = json.loads(index.read_text()).get(AGENT, {}) if index.exists() else {}
    failed = 0
    for case in planned:
        result = results.get(case)
        if result is None:
            failed += 1
            print(f"{case}: did not run")
            continue
        behavior, close = result["behavior"], result["behaviorClose"]
        if behavior == close == "OK":
            continue
        if not (behavior in PASSED and close in PASSED):
            failed += 1
        detail = json.loads((reports / result["reportfile"]).read_text())
        print(f"{case}: {behavior}, close {close}: {detail['result']} {detail['resultClose']}")
    if errors:
        print(f"{errors} errors in the suite itself, see {reports / 'fuzz.log'}")
    print(f"{len(planned) - failed} passed, {failed} failed")
    sys.exit(1 if failed or errors else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Long polls with `requests`: what is published while nobody asks must not be lost, nor come twice."""

import sys

import requests

url, count = sys.argv[1], int(sys.argv[2])
session = requests.Session()
# Where to begin, before anything is published.
answer = session.get(url, params={"poll": "0"}, timeout=60)
assert answer.status_code == 204 and answer.text == "", answer
since = answer.headers["ETag"].strip('"')
print("ready", flush=True)

got, timeouts, polls = [], 0, 0
while len(got) < count or timeouts == 0:
    answer = session.get(url, params={"poll": "1", "since": since}, timeout=60)
    polls += 1
    assert answer.headers["ETag"]
    since = answer.headers["ETag"].strip('"')
    if answer.status_code == 204:
        timeouts += 1
        print("timeout", flush=True)
        continue
    body = answer.json()
    assert body["position"] == since == body["messages"][-1]["position"], body
    got += [message["text"] for message in body["messages"]]

assert got == [f"m{n}" for n in range(count)], got
print(f"ok: {count} messages, {timeouts} time-outs, {polls} polls")

# Nothing new: 304, as HTTP has it.
answer = session.get(url, params={"poll": "0"}, headers={"If-None-Match": f'"{since}"'}, timeout=60)
assert answer.status_code == 304, answer
print("ok: 304")
print(f"done: requests {requests.__version__}")

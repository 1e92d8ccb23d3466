"""PyPI websockets in a channel that tells who is in: keys say who is who."""

import asyncio
import json
import sys
import urllib.parse
import urllib.request

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

BASE, ROOM = sys.argv[1:]


def url(token, query=""):
    return f"ws://{BASE}/ch/{ROOM}?token={token}{query}"


def page():
    target = f"http://{BASE}/ch/{ROOM}?presence&token=ann"
    with urllib.request.urlopen(target) as answer:
        return json.load(answer)


async def told(ws):
    return json.loads(await asyncio.wait_for(ws.recv(), 60))


async def main():
    member = urllib.parse.quote(json.dumps({"name": "Ánna"}, ensure_ascii=False))
    async with connect(url("ann", "&presence&member=" + member)) as ann:
        first = await told(ann)
        assert first["type"] == "presence" and first["users"] == 1, first
        assert first["members"] == [{"user": "ann", "connections": 1, "info": {"name": "Ánna"}}], first
        print("ok: the list comes first, with oneself in it")

        bob = await connect(url("bob"))
        change = await told(ann)
        assert (change["type"], change["user"]) == ("join", "bob"), change
        again = await connect(url("bob"))
        bob.transport.abort()
        again.transport.abort()
        bob = await connect(url("bob"))
        # Nobody has heard of that: the next thing that is told is somebody else.
        async with connect(url("zoe")):
            change = await told(ann)
            assert (change["type"], change["user"]) == ("join", "zoe"), change
            names = sorted(m["user"] for m in page()["members"])
            assert names == ["ann", "bob", "zoe"], names
        print("ok: who comes back in time was never away")

        change = await told(ann)
        assert (change["type"], change["user"]) == ("leave", "zoe"), change
        bob.transport.abort()
        change = await told(ann)
        assert (change["type"], change["user"]) == ("leave", "bob"), change
        assert page()["users"] == 1
        print("ok: who does not has left")

        for query, token, status in [("&presence", "bob", 403), ("&member=1", "ann", 400)]:
            try:
                await connect(url(token, query))
                raise AssertionError(query)
            except InvalidStatus as refused:
                assert refused.response.status_code == status, refused
        print("ok: a wish that cannot be met is refused before the upgrade")


asyncio.run(main())
print("done: websockets", websockets.__version__)

"""PyPI websockets as a HieraChain client that is cut off among many blocks, comes back, and misses nothing."""

import asyncio
import json
import sys
import urllib.request

from websockets.asyncio.client import connect

BASE, CONTROL, STATE, FIRST, LAST = sys.argv[1:]
TOPICS = [{"chain_name": "sc"}, {"chain_name": "sc", "event_type": "qc"}]


def publish(n):
    body = {"chain_name": "sc", "kind": "event", "event_type": "qc" if n % 3 else "zz", "data": {"n": n}}
    if n % 5 == 0:
        body = {"chain_name": "sc", "kind": "block", "data": {"n": n}}
    url = f"http://{CONTROL}/hierachain/publish"
    with urllib.request.urlopen(url, json.dumps(body).encode()) as answer:
        assert answer.status == 200


def key(place):
    return place["chain_name"], place.get("event_type")


class Careful:
    def __init__(self, stands):
        self.stands = stands
        self.got = []
        self.confirmed = set()

    async def come(self, ws):
        self.confirmed.clear()
        for topic in TOPICS:
            position = self.stands.get(key(topic))
            wish = {"since": position} if position else {"positions": True}
            await ws.send(json.dumps({"action": "subscribe", **topic, **wish}))

    async def hear(self, ws):
        message = json.loads(await asyncio.wait_for(ws.recv(), 60))
        for place in message["positions"]:
            assert place.get("recovered") is not False, message
            if message["type"] == "subscribed":
                self.confirmed.add(key(place))
            if key(place) in self.confirmed:
                self.stands[key(place)] = place["position"]
        if message["type"] != "subscribed":
            self.got.append(message["data"]["n"])


async def main():
    careful = Careful({key(place): place["position"] for place in json.loads(STATE)})
    first, last = int(FIRST), int(LAST)
    expected = list(range(first, last))
    ws = await connect(f"ws://{BASE}/ws")
    await careful.come(ws)
    # Its own subscriptions are there.
    while len(careful.confirmed) < len(TOPICS):
        await careful.hear(ws)
    loop = asyncio.get_running_loop()
    middle = (first + last) // 2
    for n in range(first, middle):
        await loop.run_in_executor(None, publish, n)
    while len(careful.got) < len(expected) // 4:
        await careful.hear(ws)
    ws.transport.abort()
    for n in range(middle, last):
        await loop.run_in_executor(None, publish, n)
    async with connect(f"ws://{BASE}/ws") as ws:
        await careful.come(ws)
        while careful.got[-1] != last - 1 or len(careful.confirmed) < len(TOPICS):
            await careful.hear(ws)
    assert careful.got == expected, careful.got
    print("ok: nothing missed, nothing twice")

    async with connect(f"ws://{BASE}/ws?chain_name=all") as ws:
        await ws.recv()
        await ws.send(json.dumps({"type": "subscribe", "chain_name": "sc", "event_types": ["qc"], "rewind": "all"}))
        answer = json.loads(await ws.recv())
        assert [key(place) for place in answer["positions"]] == [("sc", None), ("sc", "qc")], answer
        # Typed events are those of the type alone there, blocks those of the chain.
        kept = [n for n in range(last) if n % 5 == 0 or n % 3]
        got = [json.loads(await asyncio.wait_for(ws.recv(), 60))["data"]["n"] for _ in kept]
        assert sorted(got) == kept, got
    print("ok: rewind in server mode")
    stands = [{"chain_name": c, "event_type": t, "position": p} for (c, t), p in careful.stands.items()]
    print("state: " + json.dumps([{k: v for k, v in place.items() if v} for place in stands]))


asyncio.run(main())

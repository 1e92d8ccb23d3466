"""PyPI websockets against a route with a key: who gets in."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

URL, KEY = sys.argv[1:]


async def status(query="", headers=None):
    try:
        async with connect(URL + query, additional_headers=headers or {}) as ws:
            await ws.send('{"action":"ping"}')
            assert '"pong"' in await ws.recv()
            return ws.response.status_code
    except InvalidStatus as refused:
        return refused.response.status_code


async def main():
    for name, query, headers in [
        ("no key", "", None),
        ("wrong ?token=", "?token=wrong", None),
        ("wrong X-API-Key", "", {"X-API-Key": "wrong"}),
        ("wrong Bearer", "", {"Authorization": "Bearer wrong"}),
        ("?token=", f"?token={KEY}", None),
        ("X-API-Key", "", {"X-API-Key": KEY}),
        ("Bearer", "", {"Authorization": f"Bearer {KEY}"}),
    ]:
        print(f"{name}: {await status(query, headers)}")


asyncio.run(main())
print("done: websockets", websockets.__version__)

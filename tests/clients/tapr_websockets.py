"""PyPI websockets as a client of the application in tapr_app.mjs."""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK

URL = sys.argv[1]


async def main():
    headers = {"X-Bfl-User": "bob", "Cookie": "auth_token=t"}
    async with connect(URL, additional_headers=headers, subprotocols=["a", "b"]) as ws:
        assert ws.subprotocol == "a"
        print("ok: of the subprotocols a, b the first is answered")
        for ping in ['{"event":"ping"}', '{"event":"ping","data":{}}', b'{"event":"ping"}']:
            await ws.send(ping)
            assert await ws.recv() == '{"event":"pong"}'
        print("ok: pings are answered to the byte")
        data = {"q": "đặng <b>&", "pad": "é<" * 34_000}
        await ws.send(json.dumps({"event": "ask", "data": data}))
        assert json.loads(await ws.recv()) == {"event": "answer", "data": data}
        print("ok: the application answers, whole")
        await ws.send('{"event":"shout","data":1}')
        assert await ws.recv() == '{"event":"shout","data":1}'
        print("ok: the application reaches whom it has listed")
        await ws.send('{"event":"bye"}')
        try:
            await ws.recv()
            raise AssertionError("it is still open")
        except ConnectionClosedOK as closed:
            assert closed.rcvd.code == 1000, closed
        print("ok: the application closes with 1000")


asyncio.run(main())
print("done: websockets", websockets.__version__)

"""PyPI websockets, which offers permessage-deflate by default, against an echo and a channel that accept it."""

import asyncio
import json
import random
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

MAIN, CONTROL = sys.argv[1:]
MESSAGES = [json.dumps([{"id": n, "name": f"sensor {n}", "state": "ok"} for n in range(k)]) for k in (1, 10, 30, 1000)]


async def echo(ws):
    for message in [*MESSAGES, "", b"", b"\xff" * 100_000, "é" * 9_000, *MESSAGES]:
        await ws.send(message)
        answer = await ws.recv()
        assert answer == message and type(answer) is type(message), (message[:20], answer[:20])
    chance = random.Random(1)
    for _ in range(200):
        words = [chance.randbytes(chance.randrange(1, 12)).hex() for _ in range(1 + chance.randrange(20))]
        message = " ".join(chance.choice(words) for _ in range(chance.randrange(1, 300)))
        await ws.send(message)
        assert await ws.recv() == message, message
    await ws.send(["one ", "message ", "", "in four frames " * 100])
    assert await ws.recv() == "one message in four frames " + "in four frames " * 99
    pong = await ws.ping(b"between")
    await ws.send(MESSAGES[2])
    await asyncio.wait_for(pong, 30)
    assert await ws.recv() == MESSAGES[2]


async def main():
    async with connect(f"ws://{MAIN}/echo") as ws:
        (agreed,) = ws.protocol.extensions
        assert agreed.remote_no_context_takeover and not agreed.local_no_context_takeover, agreed
        await echo(ws)
    print("ok: as it comes, with a context of its own")

    for options in [
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True, "server_max_window_bits": 9},
        {"client_max_window_bits": 9, "server_max_window_bits": 12},
    ]:
        factory = ClientPerMessageDeflateFactory(**options)
        async with connect(f"ws://{MAIN}/echo", compression=None, extensions=[factory]) as ws:
            assert len(ws.protocol.extensions) == 1, options
            await echo(ws)
    print("ok: without a context, and with small windows")

    factory = ClientPerMessageDeflateFactory(server_max_window_bits=8)
    async with connect(f"ws://{MAIN}/echo", compression=None, extensions=[factory]) as ws:
        assert ws.protocol.extensions == [], ws.protocol.extensions
        await echo(ws)
    print("ok: eight bits are declined")

    small = ClientPerMessageDeflateFactory(server_max_window_bits=10)
    url = f"ws://{MAIN}/ch/mixed"
    async with connect(url) as one, connect(url, compression=None) as two:
        async with connect(url, compression=None, extensions=[small]) as three:
            for message in MESSAGES:
                reader, writer = await asyncio.open_connection(*CONTROL.rsplit(":", 1))
                body = message.encode()
                head = f"POST /ch/mixed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{head}Content-Type: text/plain\r\nConnection: close\r\n\r\n".encode() + body)
                answer = await reader.read()
                assert b'"receivers":3' in answer, answer
                writer.close()
                got = [await asyncio.wait_for(ws.recv(), 30) for ws in (one, two, three)]
                assert got == [message] * 3, got
    print("ok: the same publications with, without and with a small window")


asyncio.run(main())
print("done: websockets", websockets.__version__)

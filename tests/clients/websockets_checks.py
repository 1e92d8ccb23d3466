"""PyPI websockets against an echo route: each check that holds prints a line."""

import asyncio
import sys

import websockets
from websockets.asyncio.client import connect


async def echo(url):
    async with connect(url) as ws:
        for message in ["text", b"binary", b"\xff\xfe", "", b"", "é" * 35_000, b"x" * 65_536]:
            await ws.send(message)
            answer = await ws.recv()
            assert answer == message and type(answer) is type(message), (message[:20], answer[:20])
        print("ok: same bytes and same type come back, empty ones too")

        await ws.send(["one ", "message ", "", "in four frames"])
        assert await ws.recv() == "one message in four frames"
        await ws.send([b"\x00", b"\x01", b"\x02"])
        assert await ws.recv() == b"\x00\x01\x02"
        print("ok: fragments are put together")

        pong = await ws.ping(b"between")
        await ws.send("after the ping")
        latency = await asyncio.wait_for(pong, 30)
        assert latency >= 0 and await ws.recv() == "after the ping"
        print("ok: a ping is answered")

        for i in range(100):
            await ws.send(str(i))
        assert [await ws.recv() for _ in range(100)] == [str(i) for i in range(100)]
        print("ok: a hundred messages without waiting come back in order")


async def large(url):
    mebibyte = 1 << 20
    async with connect(url, max_size=2 * mebibyte) as ws:
        text = "0123456789abcdef" * (mebibyte // 16)
        await ws.send(text)
        assert await ws.recv() == text
        print("ok: 1 MiB of text comes back")
        try:
            await ws.send("x" * (mebibyte + 1))
            await ws.recv()
            raise AssertionError("a message over the limit came back")
        except websockets.ConnectionClosedError as closed:
            assert closed.rcvd.code == 1009, closed
        print("ok: a message over 1 MiB is closed with 1009")


async def closing(url):
    for code, reason in [(1000, ""), (1001, "leaving"), (3000, "é"), (4999, "x" * 123)]:
        async with connect(url) as ws:
            await ws.close(code, reason)
            assert ws.protocol.close_rcvd.code == code, ws.protocol.close_rcvd
            assert not ws.protocol.close_rcvd_then_sent
    print("ok: close codes come back")


async def subprotocols(url):
    async with connect(url, subprotocols=["a", "b"]) as ws:
        assert ws.subprotocol == "a", ws.subprotocol
    async with connect(url) as ws:
        assert ws.subprotocol is None and ws.protocol.extensions == [], ws.protocol.extensions
    print("ok: the first of two subprotocols is answered, none when none is offered")


async def main():
    url = sys.argv[1]
    await echo(url)
    await large(url)
    await closing(url)
    await subprotocols(url)


asyncio.run(main())
print("done: websockets", websockets.__version__)

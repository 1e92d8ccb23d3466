"""aiohttp as subscriber and as publisher over HTTP, and against an echo route."""

import asyncio
import sys

import aiohttp

MAIN, CONTROL = sys.argv[1:]


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{MAIN}/echo", protocols=["chat"], compress=15) as ws:
            assert ws.protocol == "chat" and not ws.compress, (ws.protocol, ws.compress)
            await ws.send_str("text")
            assert await ws.receive_str() == "text"
            await ws.send_bytes(b"\x00\xff")
            assert await ws.receive_bytes() == b"\x00\xff"
            await ws.ping(b"payload")
            await ws.close(code=4000, message=b"done")
            assert ws.close_code == 4000, ws.close_code
        print("ok: echo and close")

        async with session.ws_connect(f"ws://{MAIN}/ch/aiohttp") as ws:
            for i in range(3):
                async with session.post(f"http://{CONTROL}/ch/aiohttp", data=f"{i}") as answer:
                    body = await answer.json()
                    assert answer.status == 200 and body["receivers"] == 1, (answer, body)
                    assert body["offset"] == i + 1, body

            async def pieces():
                yield b"in "
                yield b"pieces"

            async with session.post(f"http://{CONTROL}/ch/aiohttp", data=pieces()) as answer:
                assert answer.status == 200, answer
            got = [await ws.receive_str() for _ in range(3)]
            assert got == ["0", "1", "2"], got
            # aiohttp calls pieces application/octet-stream, which is published as binary.
            assert await ws.receive_bytes() == b"in pieces"
        print("ok: publications arrive, a chunked one too")


asyncio.run(main())
print("done: aiohttp", aiohttp.__version__)

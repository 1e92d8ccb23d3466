"""aiohttp with compression against an echo that accepts it."""

import asyncio
import sys

import aiohttp


async def main():
    async with aiohttp.ClientSession() as session:
        for bits in (15, 11, 9):
            async with session.ws_connect(sys.argv[1], compress=bits) as ws:
                assert ws.compress, ws.compress
                for text in ["short", "text that repeats, " * 400, "", "text that repeats, " * 400]:
                    await ws.send_str(text)
                    assert await ws.receive_str() == text
                await ws.send_bytes(bytes(50_000))
                assert await ws.receive_bytes() == bytes(50_000)
                await ws.close()
            print(f"ok: asked for {bits} bits, agreed on {ws.compress}")


asyncio.run(main())
print("done: aiohttp", aiohttp.__version__)

"""PyPI websockets hears a channel to its last message, however often it is cut off, and comes back with its position."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

URL, LAST = sys.argv[1], int(sys.argv[2])


async def main():
    seen = {"got": 0, "gaps": 0, "wrong": 0, "drops": 0}
    # Who begins with what is kept begins anywhere.
    following, told, position = 0, True, None
    while True:
        query = "positions&rewind=all" if position is None else f"since={position}"
        try:
            async with connect(f"{URL}?{query}", compression=None) as ws:
                async for text in ws:
                    message = json.loads(text)
                    position = message.get("position", position)
                    if message.get("type") == "gap":
                        told, seen["gaps"] = True, seen["gaps"] + 1
                    if "type" in message:
                        continue
                    number = int(message["text"].split(" ")[0])
                    if number != following and not (told and number > following):
                        seen["wrong"] += 1
                    following, told, seen["got"] = number + 1, False, seen["got"] + 1
                    if number == LAST:
                        print("websockets", json.dumps(seen, separators=(",", ":")))
                        return
        except (OSError, EOFError, WebSocketException):
            pass
        seen["drops"] += 1
        await asyncio.sleep(0.005)


asyncio.run(main())

"""Five connections, three on supply_chain and two on orders, held until the process is killed."""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def main():
    held = []
    for chain in ["supply_chain"] * 3 + ["orders"] * 2:
        ws = await connect(sys.argv[1])
        await ws.send(json.dumps({"action": "subscribe", "chain_name": chain}))
        # There is no answer to a subscription; the answer to a ping comes behind it.
        await ws.send(json.dumps({"action": "ping"}))
        assert json.loads(await ws.recv())["type"] == "pong"
        held.append(ws)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

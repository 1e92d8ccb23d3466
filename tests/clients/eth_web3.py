"""web3.py: subscribes to heads and logs; comes back in its own loop."""

import asyncio
import sys
from importlib.metadata import version

from web3 import AsyncWeb3, WebSocketProvider
from web3.utils.subscriptions import LogsSubscription, NewHeadsSubscription
from websockets.exceptions import ConnectionClosed

URL, TOKEN = sys.argv[1:3]


async def watch(w3, name, enough):
    assert await w3.is_connected()
    print("chain", await w3.eth.chain_id)
    call = {"to": AsyncWeb3.to_checksum_address(TOKEN), "data": "0x18160ddd"}
    print("supply", int.from_bytes(await w3.eth.call(call)))
    heads = await w3.eth.subscribe("newHeads")
    logs = await w3.eth.subscribe("logs", {"address": AsyncWeb3.to_checksum_address(TOKEN)})
    print(f"{name}ready")
    seen = 0
    async for message in w3.socket.process_subscriptions():
        result = message["result"]
        if message["subscription"] == heads:
            assert len(result["logsBloom"]) == 256
            print(f"{name}head {result['number']} there", flush=True)
            seen += 1
        else:
            assert message["subscription"] == logs
            state = "removed" if result["removed"] else "there"
            print(f"{name}log {result['blockNumber']} {result['logIndex']} {state}", flush=True)
        if seen == enough:
            break
    assert await w3.eth.unsubscribe(heads)
    assert await w3.eth.unsubscribe(logs)
    print("left at", await w3.eth.block_number)


async def main():
    lives = 0
    while lives < 2:
        try:
            async with AsyncWeb3(WebSocketProvider(URL)) as w3:
                lives += 1
                if lives == 2:
                    print("back")
                await watch(w3, "" if lives == 1 else "second ", 1000 if lives == 1 else 1)
        except ConnectionClosed as closed:
            assert lives == 1
            print("gone", closed.rcvd.code if closed.rcvd else "without a word")
        except (OSError, AssertionError) as error:
            # Nobody is there yet.
            if lives != 1:
                raise
            await asyncio.sleep(0.05)


asyncio.run(main())
print("done: web3.py", version("web3"))

// viem: watches blocks and a token's events; reconnects and subscribes again by itself.
import { createPublicClient, parseAbi, webSocket } from 'viem';

const [url, token] = process.argv.slice(2);
const abi = parseAbi([
  'function totalSupply() view returns (uint256)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
]);
const client = createPublicClient({
  transport: webSocket(url, {
    // Its keep-alive is a call, which comes quickly here.
    keepAlive: { interval: 100 },
    reconnect: { attempts: 100, delay: 100 },
    retryCount: 0,
  }),
});
console.log(`chain ${await client.getChainId()}`);
console.log(`supply ${await client.readContract({ address: token, abi, functionName: 'totalSupply' })}`);

let whole = false;
let counted;
const leave = [
  client.watchBlockNumber({
    onBlockNumber: (number) => console.log(`head ${number} there`),
    onError: (error) => console.log(`error ${error.name}`),
  }),
  client.watchBlocks({
    onBlock: (block) => {
      // Whoever asks for one while the connection goes has none.
      console.log(block ? `block ${block.number} of ${block.transactions.length}` : 'no block');
      whole = block !== undefined;
      counted?.();
    },
    onError: () => {},
  }),
  client.watchContractEvent({
    address: token,
    abi,
    eventName: 'Transfer',
    onLogs: (logs) => {
      for (const log of logs) {
        console.log(`log ${log.blockNumber} ${log.logIndex} ${log.removed ? 'removed' : 'there'}`);
      }
    },
    onError: () => {},
  }),
];

const socket = await client.transport.getRpcClient();
await new Promise((resolve) => socket.socket.addEventListener('close', resolve));
console.log('gone');
do {
  await new Promise((resolve) => (counted = resolve));
} while (!whole);
console.log('back');
for (const one of leave) one();
console.log(`left at ${await client.getBlockNumber({ cacheTime: 0 })}`);
// Its answers to unsubscribing are not waited for by anybody.
await new Promise((resolve) => setTimeout(resolve, 100));
socket.close();
console.log('done: viem');

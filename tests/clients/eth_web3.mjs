// web3.js: subscribes to heads and logs; reconnects by itself but does not subscribe again, so this does.
import { Web3, WebSocketProvider } from 'web3';

const [url, token] = process.argv.slice(2);
const abi = [{ type: 'function', name: 'totalSupply', stateMutability: 'view', inputs: [], outputs: [{ type: 'uint256' }] }];

const provider = new WebSocketProvider(url, {}, { autoReconnect: true, delay: 100, maxAttempts: 100 });
const web3 = new Web3(provider);
provider.on('error', () => {});
console.log(`chain ${await web3.eth.getChainId()}`);
const contract = new web3.eth.Contract(abi, token);
console.log(`supply ${await contract.methods.totalSupply().call()}`);

async function watch(name) {
  const heads = await web3.eth.subscribe('newHeads');
  heads.on('data', (head) => console.log(`${name}head ${head.number} there`));
  const logs = await web3.eth.subscribe('logs', { address: token });
  for (const event of ['data', 'changed']) {
    logs.on(event, (log) => {
      console.log(`${name}log ${log.blockNumber} ${log.logIndex} ${log.removed ? 'removed' : 'there'}`);
    });
  }
  console.log(`${name}ready`);
  return [heads, logs];
}

await watch('');
// It says nothing when the connection is gone, only when there is another one.
await new Promise((resolve) => provider.once('connect', resolve));
console.log('back');
const [heads, logs] = await watch('second ');
await new Promise((resolve) => heads.once('data', resolve));
await heads.unsubscribe();
await logs.unsubscribe();
console.log(`left at ${await web3.eth.getBlockNumber()}`);
provider.disconnect(1000, 'done');
console.log(`done: web3 ${Web3.version}`);

// ethers: what a wallet's page does with a provider. It does not reconnect by itself; a page makes a new provider.
import { Contract, WebSocketProvider, version } from 'ethers';

const [url, token] = process.argv.slice(2);
const abi = [
  'function totalSupply() view returns (uint256)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
];

async function watch(name) {
  const provider = new WebSocketProvider(url);
  // Before anything else, as the documents do.
  await provider.on('block', (number) => console.log(`${name}head ${number} there`));
  const gone = new Promise((resolve) => {
    provider.websocket.onclose = ({ code }) => resolve(code);
  });
  const { chainId } = await provider.getNetwork();
  console.log(`chain ${chainId}`);
  const contract = new Contract(token, abi, provider);
  console.log(`supply ${await contract.totalSupply()}`);
  await contract.on('Transfer', (from, to, value, { log }) => {
    console.log(`log ${log.blockNumber} ${log.index} ${log.removed ? 'removed' : 'there'}`);
  });
  const past = await contract.queryFilter('Transfer', -2);
  console.log(`past ${past.length}`);
  return { provider, contract, gone };
}

// A page's own way to come back.
async function again() {
  for (;;) {
    try {
      return await new Promise((resolve, reject) => {
        const provider = new WebSocketProvider(url);
        provider.websocket.onerror = (event) => reject(event);
        provider.getBlockNumber().then(() => resolve(provider), reject);
      });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const { gone } = await watch('');
console.log(`gone ${await gone}`);
await (await again()).destroy();
console.log('back');
const { provider, contract } = await watch('second ');
await new Promise((resolve) => provider.once('block', resolve));
// One of two is given up, then the rest; the socket is still there for a question.
await contract.removeAllListeners();
await provider.removeAllListeners();
console.log(`left at ${await provider.getBlockNumber()}`);
await new Promise((resolve) => setTimeout(resolve, 100));
await provider.destroy();
console.log(`done: ethers ${version}`);

// ganache: a whole development node in this process. Says every method that it is asked, and where a contract is whose
// supply is 3,000,000 and which answers every transaction with two transfers.
import ganache from 'ganache';

const TRANSFER = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef';
// Stores the supply where it will be returned from; logs it twice with the caller as sender and receiver; returns it.
const log = `3333` + `7f${TRANSFER}` + '60206000a3';
const runtime = `622dc6c0600052${log}${log}60206000f3`;
const length = (runtime.length / 2).toString(16).padStart(2, '0');
// Copies what stands behind these twelve bytes and returns it: the contract.
const creation = `0x60${length}600c60003960${length}6000f3${runtime}`;

const options = { chain: { chainId: 1337, networkId: 1337 }, wallet: { seed: 'dunlin' } };
const logger = { log: (line) => console.log(`ganache: ${line}`) };
const server = ganache.server({ ...options, logging: { logger, verbose: false } });
await server.listen(Number(process.argv[2] ?? 0), '127.0.0.1');
const { provider } = server;
const [from] = await provider.request({ method: 'eth_accounts', params: [] });
const transaction = { from, data: creation, gas: '0x100000' };
const hash = await provider.request({ method: 'eth_sendTransaction', params: [transaction] });
// Some past, for those who look into it.
for (let block = 0; block < 3; block += 1) await provider.request({ method: 'evm_mine', params: [] });
const receipt = await provider.request({ method: 'eth_getTransactionReceipt', params: [hash] });
console.log(`from ${from}`);
console.log(`token ${receipt.contractAddress}`);
console.log(`port ${server.address().port}`);

//! The chain that the scripted node has: blocks whose headers have every field of a real one, transfers of two tokens in
//! each, and reorganisations that take them back.
//!
//! Everything is made from the block's number and its branch, so that two nodes with the same history say the same to
//! the byte. Hashes are no hashes: nobody who reads them can tell.

use std::fmt::Write;

use serde_json::{Value, json};

/// `Transfer(address,address,uint256)`.
pub(crate) const TRANSFER: &str =
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Two tokens. In every block there are two transfers of the first and one of the second.
pub(crate) const TOKENS: [&str; 2] = [
    "0x6b175474e89094c44da98b954eedeac495271d0f",
    "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
];
/// Who sends all of them.
pub(crate) const SENDER: &str = "0x28c6c06298d514db089934071355e5743bf21d60";
/// The first block's time: an evening in 2026.
const BEGIN: u64 = 0x6904_0000;
const FIRST: u64 = 0x16e_3600;

/// A block, its header as it is sent to subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: String,
    /// JSON, in the order of keys that Go's node writes.
    pub(crate) header: String,
    pub(crate) logs: Vec<Log>,
    pub(crate) transactions: Vec<String>,
}

/// A token's transfer.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) address: String,
    pub(crate) topics: Vec<String>,
    /// JSON up to the value of `removed`.
    json: String,
}

impl Log {
    /// JSON, of a log that is there or was taken back.
    pub(crate) fn json(&self, removed: bool) -> String {
        format!("{}{removed}}}", self.json)
    }
}

/// `bytes` bytes in hexadecimal that depend on nothing but the seed.
pub(crate) fn bytes(seed: u64, bytes: usize) -> String {
    let mut text = "0x".to_owned();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6a09_e667_f3bc_c908;
    while text.len() < 2 + 2 * bytes {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        _ = write!(text, "{:016x}", word ^ word >> 31);
    }
    text.truncate(2 + 2 * bytes);
    text
}

/// A number in 32 bytes.
pub(crate) fn word(number: u64) -> String {
    format!("0x{number:064x}")
}

/// A bloom filter with three bits for each of `items`, more or less as it would have them.
fn bloom(items: impl Iterator<Item = u64>) -> String {
    let mut bits = [0_u8; 256];
    for item in items {
        let text = bytes(item, 6);
        for at in 0..3 {
            let pair = &text[2 + 4 * at..6 + 4 * at];
            let bit = usize::from_str_radix(pair, 16).unwrap() % 2048;
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    let mut text = "0x".to_owned();
    for byte in bits {
        _ = write!(text, "{byte:02x}");
    }
    text
}

impl Block {
    fn new(number: u64, branch: u64, parent: &str) -> Self {
        let seed = number << 20 | branch << 8;
        let hash = bytes(seed, 32);
        let time = BEGIN + 12 * (number - FIRST);
        let transactions: Vec<String> = (0..3).map(|n| bytes(seed + 0x10 + n, 32)).collect();
        let logs = (0..3_u64).map(|n| {
            let address = TOKENS[usize::from(n == 2)];
            let to = format!("0x{:0>64}", &bytes(seed + 0x20 + n, 20)[2..]);
            let topics = vec![
                TRANSFER.to_owned(),
                format!("0x{:0>64}", &SENDER[2..]),
                to,
            ];
            let json = format!(
                r#"{{"address":"{address}","topics":["{}"],"data":"{}","blockNumber":"0x{number:x}","transactionHash":"{}","transactionIndex":"0x{n:x}","blockHash":"{hash}","blockTimestamp":"0x{time:x}","logIndex":"0x{n:x}","removed":"#,
                topics.join("\",\""),
                word(1_000_000 * (number - FIRST) + n),
                transactions[n as usize],
            );
            Log {
                address: address.to_owned(),
                topics,
                json,
            }
        });
        let logs: Vec<Log> = logs.collect();
        let header = format!(
            r#"{{"parentHash":"{parent}","sha3Uncles":"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347","miner":"0x4838b106fce9647bdf1e7877bf73ce8b0bad5f97","stateRoot":"{}","transactionsRoot":"{}","receiptsRoot":"{}","logsBloom":"{}","difficulty":"0x0","number":"0x{number:x}","gasLimit":"0x2aea540","gasUsed":"0x{:x}","timestamp":"0x{time:x}","extraData":"0x546974616e2028746974616e6275696c6465722e78797a29","mixHash":"{}","nonce":"0x0000000000000000","baseFeePerGas":"0x{:x}","withdrawalsRoot":"{}","blobGasUsed":"0xc0000","excessBlobGas":"0x80000","parentBeaconBlockRoot":"{}","requestsHash":"0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","hash":"{hash}"}}"#,
            bytes(seed + 1, 32),
            bytes(seed + 2, 32),
            bytes(seed + 3, 32),
            bloom((0..3).map(|n| seed + 0x20 + n).chain([0, 1, 2, 3])),
            0x14_0000 + number % 0x1000,
            bytes(seed + 4, 32),
            0x1dcd_6500 + number % 0x100,
            bytes(seed + 5, 32),
            bytes(seed + 6, 32),
        );
        Self {
            number,
            hash,
            header,
            logs,
            transactions,
        }
    }

    /// The whole block, with its transactions or with their hashes.
    pub(crate) fn json(&self, full: bool) -> String {
        let transactions: Vec<String> = if full {
            (0..3).map(|n| self.transaction(n)).collect()
        } else {
            self.transactions
                .iter()
                .map(|hash| format!("\"{hash}\""))
                .collect()
        };
        let mut header = self.header.clone();
        header.pop();
        format!(
            r#"{header},"size":"0x5f2","transactions":[{}],"uncles":[],"withdrawals":[]}}"#,
            transactions.join(",")
        )
    }

    /// A transaction of this block.
    pub(crate) fn transaction(&self, index: usize) -> String {
        let Self { number, hash, .. } = self;
        let place = format!(
            r#""blockHash":"{hash}","blockNumber":"0x{number:x}","transactionIndex":"0x{index:x}""#
        );
        transaction(&self.transactions[index], &place)
    }

    pub(crate) fn receipt(&self, index: usize) -> Value {
        let log: Value = serde_json::from_str(&self.logs[index].json(false)).unwrap();
        json!({
            "blockHash": self.hash, "blockNumber": format!("0x{:x}", self.number), "contractAddress": null,
            "cumulativeGasUsed": format!("0x{:x}", 51_000 * (index + 1)), "effectiveGasPrice": "0x3b9aca00",
            "from": SENDER, "gasUsed": "0xc738", "logs": [log], "logsBloom": bloom([1, 2].into_iter()),
            "status": "0x1", "to": self.logs[index].address, "transactionHash": self.transactions[index],
            "transactionIndex": format!("0x{index:x}"), "type": "0x2"
        })
    }
}

/// A transaction; `place` says where it is, or that it is nowhere yet.
pub(crate) fn transaction(hash: &str, place: &str) -> String {
    format!(
        r#"{{{place},"from":"{SENDER}","gas":"0xea60","gasPrice":"0x3b9aca00","maxFeePerGas":"0x77359400","maxPriorityFeePerGas":"0x5f5e100","hash":"{hash}","input":"0xa9059cbb","nonce":"0x7","to":"{}","value":"0x0","type":"0x2","accessList":[],"chainId":"0x539","v":"0x0","r":"{hash}","s":"{hash}","yParity":"0x0"}}"#,
        TOKENS[0]
    )
}

/// What happened to the chain, in the order that subscribers hear of it.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Removed(Block),
    Added(Block),
}

#[derive(Debug)]
pub(crate) struct Chain {
    blocks: Vec<Block>,
    branch: u64,
}

impl Chain {
    /// With some blocks.
    pub(crate) fn new() -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            branch: 0,
        };
        for _ in 0..4 {
            chain.mine();
        }
        chain
    }

    pub(crate) fn head(&self) -> &Block {
        self.blocks.last().unwrap()
    }

    pub(crate) fn mine(&mut self) -> Change {
        let (number, parent) = match self.blocks.last() {
            Some(head) => (head.number + 1, head.hash.clone()),
            None => (FIRST, word(0)),
        };
        let block = Block::new(number, self.branch, &parent);
        self.blocks.push(block.clone());
        Change::Added(block)
    }

    /// The last `depth` blocks turn out to be none; others take their place, and one more.
    pub(crate) fn reorganise(&mut self, depth: usize) -> Vec<Change> {
        let stay = self.blocks.len() - depth;
        let gone = self.blocks.split_off(stay);
        let mut changes: Vec<Change> = gone.into_iter().map(Change::Removed).collect();
        self.branch += 1;
        changes.extend((0..=depth).map(|_| self.mine()));
        changes
    }

    /// The block that a number or a word like `latest` means.
    pub(crate) fn find(&self, which: &str) -> Option<&Block> {
        match which {
            "latest" | "pending" | "safe" | "finalized" => Some(self.head()),
            "earliest" => self.blocks.first(),
            hash if hash.len() == 66 => self.blocks.iter().find(|block| block.hash == hash),
            number => {
                let number = u64::from_str_radix(number.strip_prefix("0x")?, 16).ok()?;
                self.blocks.iter().find(|block| block.number == number)
            }
        }
    }

    /// The block and the index of a transaction.
    pub(crate) fn find_transaction(&self, hash: &str) -> Option<(&Block, usize)> {
        self.blocks.iter().find_map(|block| {
            let index = block.transactions.iter().position(|one| one == hash)?;
            Some((block, index))
        })
    }

    /// The logs of `eth_getLogs`.
    pub(crate) fn logs(&self, filter: &Value) -> Vec<String> {
        let bound = |name: &str| {
            let block = self.find(filter[name].as_str().unwrap_or("latest"));
            block.map_or(u64::MAX, |block| block.number)
        };
        let range = match filter["blockHash"].as_str() {
            Some(hash) => self.find(hash).map_or(0..=0, |b| b.number..=b.number),
            None => bound("fromBlock")..=bound("toBlock"),
        };
        let blocks = self.blocks.iter().filter(|b| range.contains(&b.number));
        blocks
            .flat_map(|block| &block.logs)
            .filter(|log| matches(filter, log))
            .map(|log| log.json(false))
            .collect()
    }
}

/// Whether a log is one of those that a filter means.
pub(crate) fn matches(filter: &Value, log: &Log) -> bool {
    let one_of = |wanted: &Value, is: &str| match wanted {
        Value::String(one) => one.eq_ignore_ascii_case(is),
        Value::Array(any) if !any.is_empty() => any
            .iter()
            .any(|one| one.as_str().is_some_and(|one| one.eq_ignore_ascii_case(is))),
        _ => true,
    };
    let topics = filter["topics"].as_array().cloned().unwrap_or_default();
    one_of(&filter["address"], &log.address)
        && topics.len() <= log.topics.len()
        && topics
            .iter()
            .zip(&log.topics)
            .all(|(wanted, is)| one_of(wanted, is))
}

#[test]
fn a_chain_is_whole_and_says_the_same_every_time() {
    let mut chain = Chain::new();
    let mut before: Option<Value> = None;
    for block in &chain.blocks {
        let header: Value = serde_json::from_str(&block.header).unwrap();
        assert_eq!(header["logsBloom"].as_str().unwrap().len(), 514);
        if let Some(before) = before {
            assert_eq!(header["parentHash"], before["hash"]);
        }
        before = Some(header);
    }
    assert_eq!(Chain::new().head().header, chain.head().header);
    let all = json!({"fromBlock": "earliest"});
    assert_eq!(chain.logs(&all).len(), 12);
    let one = json!({"fromBlock": "earliest", "address": [TOKENS[1].to_uppercase()]});
    assert_eq!(chain.logs(&one).len(), 4);
    let none = json!({"fromBlock": "earliest", "topics": [null, [TRANSFER]]});
    assert_eq!(chain.logs(&none).len(), 0);
    let head = chain.head().number;
    assert_eq!(chain.reorganise(2).len(), 5);
    assert_eq!(chain.head().number, head + 1);
    assert_eq!(chain.blocks.len(), 5);
}

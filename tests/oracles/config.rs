//! Oracle: our reader of configuration files agrees with the crate `toml`; see `dunlin::config::fuzz`.

use dunlin::config::fuzz::{Entry, Tree, config as body};

#[path = "toml_tree.rs"]
mod toml_tree;

pub(crate) fn config(data: &[u8]) {
    body(data, toml_tree::read);
}

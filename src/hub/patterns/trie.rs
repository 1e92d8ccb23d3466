//! Patterns as a trie over segments.

use std::collections::HashMap;

use slab::Slab;

use super::super::channel::Space;

/// Those that are for the channels of one space.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) of: Space,
    /// Their own space.
    pub(super) own: Space,
    nodes: Slab<Node>,
}

/// What patterns have in common from their beginning on.
#[derive(Debug, Default)]
struct Node {
    /// By the segment that follows.
    literals: HashMap<Box<str>, u32>,
    /// Behind a `*`.
    any: Option<u32>,
    /// The pattern that ends here.
    ends: Option<u32>,
    /// The one that ends with a `>` behind this.
    rest: Option<u32>,
}

/// The first of each tree, which stays.
const ROOT: u32 = 0;

impl Node {
    fn is_empty(&self) -> bool {
        let leads_on = !self.literals.is_empty() || self.any.is_some();
        !leads_on && self.ends.is_none() && self.rest.is_none()
    }

    fn next(&self, segment: &str) -> Option<u32> {
        match segment {
            "*" => self.any,
            _ => self.literals.get(segment).copied(),
        }
    }
}

impl Tree {
    pub(super) fn new(of: Space, own: Space) -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::default());
        Self { of, own, nodes }
    }

    fn node(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)
    }

    pub(super) fn insert(&mut self, pattern: &str, channel: u32) {
        let (way, is_rest) = cut(pattern);
        let mut at = ROOT;
        for segment in way.split_terminator('.') {
            let known = self.nodes.get(at as usize);
            at = match known.and_then(|node| node.next(segment)) {
                Some(next) => next,
                None => {
                    let next = self.nodes.insert(Node::default()) as u32;
                    if let Some(node) = self.node(at) {
                        match segment {
                            "*" => node.any = Some(next),
                            _ => _ = node.literals.insert(segment.into(), next),
                        }
                    }
                    next
                }
            };
        }
        if let Some(node) = self.node(at) {
            *(if is_rest {
                &mut node.rest
            } else {
                &mut node.ends
            }) = Some(channel);
        }
    }

    pub(super) fn remove(&mut self, pattern: &str) {
        let (way, is_rest) = cut(pattern);
        self.remove_below(ROOT, way, is_rest);
    }

    /// `true`: the node has become empty.
    fn remove_below(&mut self, at: u32, way: &str, is_rest: bool) -> bool {
        let Some(node) = self.node(at) else {
            return false;
        };
        if way.is_empty() {
            *(if is_rest {
                &mut node.rest
            } else {
                &mut node.ends
            }) = None;
            return node.is_empty();
        }
        let (segment, way) = way.split_once('.').unwrap_or((way, ""));
        let Some(next) = node.next(segment) else {
            return false;
        };
        if !self.remove_below(next, way, is_rest) {
            return false;
        }
        self.nodes.try_remove(next as usize);
        let Some(node) = self.node(at) else {
            return false;
        };
        match segment {
            "*" => node.any = None,
            _ => _ = node.literals.remove(segment),
        }
        node.is_empty()
    }

    /// Calls `found` with each pattern that has a name.
    pub(super) fn find(&self, name: &str, found: &mut dyn FnMut(u32)) {
        self.find_below(ROOT, Some(name), found);
    }

    fn find_below(&self, at: u32, name: Option<&str>, found: &mut dyn FnMut(u32)) {
        let Some(node) = self.nodes.get(at as usize) else {
            return;
        };
        let Some(name) = name else {
            return node.ends.into_iter().for_each(found);
        };
        node.rest.into_iter().for_each(&mut *found);
        let (segment, rest) = match name.split_once('.') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (name, None),
        };
        if let Some(next) = node.literals.get(segment) {
            self.find_below(*next, rest, found);
        }
        if let Some(next) = node.any {
            self.find_below(next, rest, found);
        }
    }

    /// How many patterns there are.
    ///
    /// # Panics
    /// When a node leads nowhere: that is a bug of ours.
    pub(super) fn check(&self) -> usize {
        let mut patterns = 0;
        for (at, node) in &self.nodes {
            let is_root = at == ROOT as usize;
            assert!(is_root || !node.is_empty(), "a node leads nowhere");
            patterns += usize::from(node.ends.is_some()) + usize::from(node.rest.is_some());
        }
        patterns
    }
}

/// A pattern without its `>`, each segment with a dot behind it, and whether it has one.
fn cut(pattern: &str) -> (&str, bool) {
    match pattern.strip_suffix('>') {
        Some(way) if way.is_empty() || way.ends_with('.') => (way, true),
        _ => (pattern, false),
    }
}

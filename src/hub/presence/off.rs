//! A build without the feature `presence`: nobody is kept, nothing is told. Options that ask for it are refused.

use std::rc::Rc;

use super::channel::Space;
use super::{ConnId, Hub, Ticket};

#[derive(Debug, Default)]
pub(super) struct Presences;

impl Presences {
    pub(super) fn new(_leaving_max: usize) -> Self {
        Self
    }

    pub(super) fn join(&mut self, _: Space, _: &Rc<str>, _: ConnId, _: Option<Rc<str>>) {}

    pub(super) fn leave(&mut self, _: Space, _: &str, _session: u32) {}

    pub(super) fn note_occupied(&mut self, _: Space, _: &Rc<str>, _occupied: bool) {}

    pub(super) fn has_orders(&self) -> bool {
        false
    }

    pub(super) fn bytes(&self) -> usize {
        0
    }

    pub(super) fn sessions_in(&self, _: Space, _: &str) -> Vec<u32> {
        Vec::new()
    }

    pub(super) fn check_invariants(&self) {}
}

impl Hub {
    pub(crate) fn end_timer(&mut self, _: Ticket) {}

    pub(super) fn rename_member(&mut self, _index: u32) {}
}

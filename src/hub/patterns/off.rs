//! A build without the feature `wildcards`: there are no patterns.

use super::channel::Space;
use super::encoding::Encoder;
use super::publish::{Label, Reach};
use super::{Context, Hub, Position};
use crate::ws::Message;

#[derive(Debug)]
pub(super) struct Heard;

impl Heard {
    #[inline]
    pub(super) fn is_nothing(&self) -> bool {
        true
    }

    #[inline]
    pub(super) fn name(&self, _: &mut Encoder, _channel: &str) {}

    #[inline]
    pub(super) fn note(&mut self, _at: usize, _: Position, _previous: Position) {}
}

impl Hub {
    #[inline]
    pub(super) fn heard_by_patterns(&mut self, _: Space, _names: &[&str]) -> Heard {
        Heard
    }

    #[inline]
    pub(super) fn publish_to_patterns(
        &mut self,
        _: Heard,
        _: Label<'_>,
        _: Message<'_>,
        _: &Reach<'_>,
        _first: &mut Option<Position>,
    ) -> usize {
        0
    }
}

impl Context<'_> {
    #[inline]
    pub(crate) fn is_heard(&self, channel: &str) -> bool {
        self.subscribers(channel) > 0
    }
}

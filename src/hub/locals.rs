//! Per-connection state of a handler: a slab, with its key in the session's word.

use slab::Slab;

use super::Context;

/// One value per session of a handler.
///
/// ```
/// use dunlin::{CloseInfo, Context, Handler, Locals, Message};
///
/// #[derive(Default)]
/// struct Counter { seen: Locals<u64> }
///
/// impl Handler for Counter {
///     fn on_open(&mut self, cx: &mut Context<'_>) {
///         self.seen.insert(cx, 0);
///     }
///     fn on_message(&mut self, cx: &mut Context<'_>, _: Message<'_>) {
///         if let Some(seen) = self.seen.get_mut(cx) {
///             *seen += 1;
///             let text = seen.to_string();
///             cx.send_text(&text);
///         }
///     }
///     fn on_close(&mut self, cx: &mut Context<'_>, _: CloseInfo<'_>) {
///         self.seen.remove(cx);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Locals<S> {
    slab: Slab<S>,
}

impl<S> Default for Locals<S> {
    fn default() -> Self {
        Self { slab: Slab::new() }
    }
}

impl<S> Locals<S> {
    /// Gives this session a state; an earlier one is returned.
    pub fn insert(&mut self, cx: &mut Context<'_>, state: S) -> Option<S> {
        let old = self.remove(cx);
        // Zero means "none", so keys are kept one higher.
        let key = self.slab.insert(state) as u64 + 1;
        cx.set_word(key);
        old
    }

    /// This session's state.
    pub fn get(&self, cx: &Context<'_>) -> Option<&S> {
        self.slab.get(cx.word().checked_sub(1)? as usize)
    }

    /// This session's state, to change.
    pub fn get_mut(&mut self, cx: &Context<'_>) -> Option<&mut S> {
        self.slab.get_mut(cx.word().checked_sub(1)? as usize)
    }

    /// Takes this session's state away.
    pub fn remove(&mut self, cx: &mut Context<'_>) -> Option<S> {
        let key = cx.word().checked_sub(1)?;
        cx.set_word(0);
        self.slab.try_remove(key as usize)
    }

    /// Sessions that have a state.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether no session has a state.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// All states.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.slab.iter().map(|(_, s)| s)
    }
}

//! What a [`Run`] does with the application that calls go to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::app::Entry;
use super::chooser::Chooser;
use super::deed::{Deed, End, Framing};
use super::run::Run;
use super::socket::Faults;

/// What the application will do with the next requests; beyond them it is healthy.
pub(super) type Plan = Rc<RefCell<VecDeque<Deed>>>;

impl Run {
    /// The application follows the plan.
    pub(super) fn follow_plan(&mut self) {
        let plan = self.plan.clone();
        self.inner.app.behave(Box::new(move |_| {
            let planned = plan.borrow_mut().pop_front();
            planned.unwrap_or_else(|| Deed::ok("done"))
        }));
    }

    /// Something happens at the application.
    pub(super) fn disturb(&mut self) {
        let chooser = &mut self.chooser;
        let what = chooser.index(8);
        match what {
            0..=3 => {
                let deed = deed(chooser);
                self.plan.borrow_mut().push_back(deed);
            }
            4 => self.inner.app.is_down = false,
            5 if chooser.one_in(2) => self.inner.app.down(),
            6 => {
                let at = chooser.index(self.inner.app.connections());
                let reset = chooser.one_in(2);
                self.inner.app.break_off(at, reset);
            }
            _ => {
                self.inner.app.connect_ms = [0, 0, 1, 30, 600][chooser.index(5)];
                self.inner.app.faults = Faults {
                    read_max: chooser.size(12),
                    write_max: chooser.size(12),
                    interrupt_every: [0, 2, 3][chooser.index(3)],
                    short_read_drains: chooser.one_in(3),
                    chatty: chooser.one_in(3),
                };
            }
        }
        self.say(&format!("Disturb {what} {:?}", self.plan.borrow().back()));
    }

    /// From now on it is healthy.
    pub(super) fn heal(&mut self) {
        self.plan.borrow_mut().clear();
        self.inner.app.is_down = false;
        self.inner.app.connect_ms = 0;
    }

    /// Takes what the handler asked for, what the application saw and what the handler was told to the model.
    pub(super) fn absorb_calls(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            if let Entry::Called { id, body } = entry {
                let last = body.ends_with(" close");
                self.callbacks.called(*id, body.clone(), last)?;
            }
        }
        for seen in std::mem::take(&mut self.inner.app.seen) {
            if self.verbose {
                self.say(&format!("  {seen:?}"));
            }
            self.callbacks.seen(seen)?;
        }
        for entry in entries {
            if let Entry::Returned { body, outcome } = entry {
                let (now, draining) = (self.inner.now.ms, self.draining);
                self.callbacks.returned(body, *outcome, now, draining)?;
            }
        }
        Ok(())
    }
}

fn deed(chooser: &mut Chooser) -> Deed {
    let ends = [
        (6, End::Answer),
        (1, End::Never),
        (2, End::ResetUnread),
        (2, End::Reset),
        (1, End::Hangup),
        (1, End::Cut),
        (1, End::Junk),
        (1, End::EndlessHead),
    ];
    let end = chooser.weighted(&ends).unwrap_or(End::Answer);
    let framing = match chooser.index(3) {
        1 => Framing::Chunked,
        2 if end == End::Answer => Framing::Close,
        _ => Framing::Length,
    };
    Deed {
        end,
        after_ms: [0, 0, 10, 300, 1_900, 4_000][chooser.index(6)],
        status: [200, 200, 204, 500][chooser.index(4)],
        body: "b".repeat(1 + chooser.index(300)),
        framing,
        keep: !chooser.one_in(4),
        piece: chooser.size(9),
    }
}

//! Colour, and printing that never panics: a closed pipe is the reader's decision, not a fault.

use std::io::{IsTerminal, Write};

/// Prints to stdout; false when nobody reads it any more.
pub(crate) fn show(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

/// Prints a line to stderr.
pub(crate) fn say(text: &str) {
    _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether to colour a stream: no-color.org first, then bixense.com/clicolors, then what the stream is.
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    decide(
        variable("NO_COLOR").is_some(),
        variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
        stream.is_terminal()
            && variable("TERM").is_none_or(|term| term != "dumb")
            && variable("CLICOLOR").is_none_or(|value| value != "0"),
    )
}

fn decide(no_color: bool, force: bool, terminal: bool) -> bool {
    !no_color && (force || terminal)
}

/// Text with an SGR code around it, or as it is.
pub(crate) fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_beats_force_beats_the_terminal() {
        assert!(!decide(true, true, true));
        assert!(decide(false, true, false));
        assert!(decide(false, false, true));
        assert!(!decide(false, false, false));
        assert_eq!(paint("x", "1", false), "x");
    }
}

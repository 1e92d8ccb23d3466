//! A command line as words, without a shell.
//!
//! Words are separated by white space. `'…'` is taken as it is, in `"…"` a backslash makes `"` and `\` ordinary, elsewhere it
//! makes any character ordinary. Nothing else means anything: no variable, no pattern, no pipe.

use std::fmt;

/// Why a command line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// There is no word in it.
    Empty,
    /// A quotation or a backslash at its end has no end.
    Unfinished(char),
    /// A word that only a shell understands.
    NeedsShell(String),
    /// A character that no argument may have.
    Nul,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a command has a word at least: the program"),
            Self::Unfinished(mark) => write!(f, "a {mark} is never closed"),
            Self::NeedsShell(word) => write!(
                f,
                "{word:?} is for a shell, and none reads this: write sh -c '…' (or `shell` = true in the \
                 configuration), or quote it if the program is meant to get it"
            ),
            Self::Nul => f.write_str("no argument may have a NUL in it"),
        }
    }
}

impl std::error::Error for CommandError {}

/// The words of a command line.
///
/// ```
/// use dunlin::dialect::split_command;
/// assert_eq!(split_command(r#"grep -e 'a b' "it's""#)?, ["grep", "-e", "a b", "it's"]);
/// # Ok::<(), dunlin::dialect::CommandError>(())
/// ```
///
/// # Errors
/// A quotation without end, no word at all, or a word for a shell.
pub fn split_command(line: &str) -> Result<Vec<String>, CommandError> {
    const SHELLS: [&str; 10] = ["|", "||", "|&", "&", "&&", ";", "<", ">", ">>", "2>&1"];
    let mut words = Vec::new();
    let mut letters = line.chars();
    // The word so far, and whether something in it was quoted.
    let mut word: Option<(String, bool)> = None;
    let mut end = |word: &mut Option<(String, bool)>| match word.take() {
        Some((word, false)) if SHELLS.contains(&word.as_str()) => {
            Err(CommandError::NeedsShell(word))
        }
        Some((word, _)) => {
            words.push(word);
            Ok(())
        }
        None => Ok(()),
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\0' => return Err(CommandError::Nul),
            c if c.is_whitespace() => end(&mut word)?,
            '\'' | '"' => {
                let (text, is_quoted) = word.get_or_insert_default();
                *is_quoted = true;
                loop {
                    match letters.next().ok_or(CommandError::Unfinished(letter))? {
                        c if c == letter => break,
                        '\\' if letter == '"' => {
                            let next = letters.next().ok_or(CommandError::Unfinished(letter))?;
                            if !matches!(next, '"' | '\\') {
                                text.push('\\');
                            }
                            text.push(next);
                        }
                        c => text.push(c),
                    }
                }
            }
            '\\' => {
                let next = letters.next().ok_or(CommandError::Unfinished('\\'))?;
                let (text, is_quoted) = word.get_or_insert_default();
                *is_quoted = true;
                text.push(next);
            }
            c => word.get_or_insert_default().0.push(c),
        }
    }
    end(&mut word)?;
    match words.is_empty() {
        true => Err(CommandError::Empty),
        false => Ok(words),
    }
}

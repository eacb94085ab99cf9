//! Questions to a person at a terminal. Where there is none, nothing is asked and nothing is answered.

use std::io::{self, IsTerminal, Write};

use zeroize::Zeroizing;

use super::output::shown;
use crate::keystore::{self, Passphrase};

/// Asks on the terminal; mute where standard input or standard error is none, or `CI` is set.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    able: bool,
}

impl Prompt {
    /// A prompt that asks if it can. `ci` is whether the environment says that no person is there.
    pub fn new(ci: bool) -> Self {
        Self { able: !ci && io::stdin().is_terminal() && io::stderr().is_terminal() }
    }

    /// Whether there is anybody to ask.
    pub fn is_able(self) -> bool {
        self.able
    }

    /// Asks a yes-or-no question; only `y` or `yes` is a yes. None where there is nobody to ask.
    pub fn confirm(self, question: &str) -> Option<bool> {
        if !self.able {
            return None;
        }
        let mut stderr = io::stderr().lock();
        write!(stderr, "{} [y/N] ", shown(question)).and_then(|()| stderr.flush()).ok()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(means_yes(&answer))
    }
}

impl keystore::Prompt for Prompt {
    fn passphrase(&self, question: &str) -> Option<Passphrase> {
        if !self.able {
            return None;
        }
        rpassword::prompt_password(format!("{}: ", shown(question))).ok().map(Zeroizing::new)
    }
}

fn means_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::Prompt as _;

    #[test]
    fn without_a_terminal_nothing_is_asked() {
        let prompt = Prompt::new(true);
        assert_eq!((prompt.passphrase("secret"), prompt.confirm("sure?")), (None, None));
    }

    #[test]
    fn only_yes_means_yes() {
        for (answer, yes) in [("y\n", true), (" YES \n", true), ("\n", false), ("yep\n", false), ("n\n", false)] {
            assert_eq!(means_yes(answer), yes, "{answer:?}");
        }
    }
}

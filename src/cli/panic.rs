//! Panics: a fault of the program, told in one sentence, exit 1.

use std::any::Any;
use std::panic::{self, PanicHookInfo, UnwindSafe};

use super::console::Console;
use super::options::Speech;
use super::report::{Exit, Failure};

/// Runs the program; a panic in it ends as exit 1 instead of the language's own 101.
pub fn guard(run: impl FnOnce() -> Exit + UnwindSafe) -> Exit {
    panic::catch_unwind(run).unwrap_or(Exit::Failed)
}

/// Makes panics speak as other failures do.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        let console = Console::new(&Speech::default(), &crate::env::process);
        console.talk.failure(&told(info));
    }));
}

fn told(info: &PanicHookInfo<'_>) -> Failure {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = payload(info.payload());
    Failure::failed(format!("boltseal has a fault of its own at {place}: {message}"))
        .hint("nothing was trusted because of it; please report this line and what you ran")
}

fn payload(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_exit_1() {
        assert_eq!(guard(|| panic!("on purpose")), Exit::Failed);
        assert_eq!(guard(|| Exit::Policy), Exit::Policy);
    }
}

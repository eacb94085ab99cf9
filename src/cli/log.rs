//! The log on standard error, for finding out what went wrong. Silent unless asked for.

use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::report::Failure;
use super::talk;
use crate::env::{self, Environment};

/// Starts the log where `-v` or `BOLTSEAL_LOG` asks for it; otherwise nothing is built or parsed.
///
/// # Errors
/// Exit 2 where `BOLTSEAL_LOG` holds no filters.
pub fn start(verbose: u8, environment: &dyn Environment) -> Result<(), Failure> {
    let filter = environment.value(env::LOG);
    if verbose == 0 && filter.is_none() {
        return Ok(());
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(talk::is_terminal() && environment.value(env::NO_COLOR).is_none());
    let registry = tracing_subscriber::registry();
    // A second start, as tests do, keeps the first log.
    let _ = match filter {
        Some(filter) => {
            let filter = EnvFilter::try_new(filter.to_string_lossy())
                .map_err(|error| Failure::usage(format!("`{}` holds no log filters: {error}", env::LOG)))?;
            registry.with(lines).with(filter).try_init()
        }
        None => registry.with(lines).with(levels(verbose)).try_init(),
    };
    Ok(())
}

/// What each further `-v` shows: our own steps, then their detail, then the libraries' too.
fn levels(verbose: u8) -> Targets {
    match verbose {
        0 | 1 => Targets::new().with_target("boltseal", LevelFilter::DEBUG),
        2 => Targets::new().with_target("boltseal", LevelFilter::TRACE),
        _ => Targets::new().with_default(LevelFilter::DEBUG).with_target("boltseal", LevelFilter::TRACE),
    }
}

//! `boltseal completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::console::Console;
use super::report::Outcome;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal completions bash > ~/.local/share/bash-completion/completions/boltseal
  boltseal completions zsh > ~/.zfunc/_boltseal
  boltseal completions fish > ~/.config/fish/completions/boltseal.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the completions.
pub fn run(args: &Args, console: &Console) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "boltseal", &mut script);
    console.output.bytes(&script);
    Outcome::Done
}

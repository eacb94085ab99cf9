//! `boltseal man`: the manual pages, made from the same text as `--help`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, ValueHint};
use clap_mangen::Man;

use super::console::Console;
use super::report::{Failure, Outcome};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal man | man -l -
  boltseal man key rotate | man -l -
  boltseal man --to ~/.local/share/man/man1")]
pub struct Args {
    /// The verb whose page is printed; the program's own page without one
    #[arg(conflicts_with = "to", value_name = "VERB")]
    pub verb: Vec<String>,

    /// Write all pages into DIR instead, which is created
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
}

/// Prints one page, or writes all of them.
///
/// # Errors
/// Exit 2 for a verb that does not exist, 1 where a page cannot be written.
pub fn run(args: &Args, console: &Console) -> Result<Outcome, Failure> {
    let mut root = super::Cli::command();
    root.build();
    match &args.to {
        Some(folder) => {
            let cannot = |error: std::io::Error| {
                Failure::failed(format!("cannot write manual pages to `{}`: {error}", folder.display()))
            };
            std::fs::create_dir_all(folder).map_err(cannot)?;
            write_tree(&root, folder).map_err(cannot)?;
        }
        None => console.output.bytes(&page(find(&root, &args.verb)?)),
    }
    Ok(Outcome::Done)
}

fn find<'a>(root: &'a Command, verbs: &[String]) -> Result<&'a Command, Failure> {
    verbs.iter().try_fold(root, |command, verb| {
        command.find_subcommand(verb).ok_or_else(|| {
            Failure::usage(format!("`{verb}` is not a verb of `{}`", command.get_name().replace('-', " ")))
                .hint("`boltseal help` lists the verbs")
        })
    })
}

fn write_tree(command: &Command, folder: &Path) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(folder.join(format!("{name}.1")), page(command))?;
    // The parser's own `help` verb describes nothing that the pages do not.
    command.get_subcommands().filter(|verb| verb.get_name() != "help").try_for_each(|verb| write_tree(verb, folder))
}

fn page(command: &Command) -> Vec<u8> {
    let mut roff = Vec::new();
    Man::new(command.clone()).render(&mut roff).expect("a vector takes every write");
    roff
}

//! Times of whole processes, and the table they end in.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};

/// What one piece of work cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// The median.
    pub(crate) milliseconds: f64,
    /// Requests, and bytes of the bodies that came back, where somebody counted.
    pub(crate) wire: Option<(usize, u64)>,
}

/// One piece of work, done by us and by others.
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) ours: Cost,
    pub(crate) peers: Vec<(&'static str, Cost)>,
}

/// Runs a command that must succeed, and returns how many milliseconds its process lived.
pub(crate) fn time(command: &mut Command) -> f64 {
    let begun = Instant::now();
    let output = command.output().expect("the command starts");
    let elapsed = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    elapsed.as_secs_f64() * 1000.0
}

/// The median of that many measurements.
pub(crate) fn median(runs: usize, measure: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = std::iter::repeat_with(measure).take(runs.max(1)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The table, with a line for each peer of a row. A ratio below 1 means that we are faster.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["work", "ours", "peer", "ratio"]);
    for column in 1..4 {
        table.column_mut(column).expect("there are four columns").set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let ours = describe(&row.ours);
        if row.peers.is_empty() {
            table.add_row([row.work.as_str(), &ours, "", ""]);
        }
        for (name, cost) in &row.peers {
            let ratio = format!("{:.2}", row.ours.milliseconds / cost.milliseconds);
            table.add_row([row.work.as_str(), &ours, &format!("{name} {}", describe(cost)), &ratio]);
        }
    }
    table.to_string()
}

fn describe(cost: &Cost) -> String {
    let mut text = format!("{:.1} ms", cost.milliseconds);
    if let Some((requests, bytes)) = cost.wire {
        write!(text, ", {requests} req, {bytes} B").expect("a string grows");
    }
    text
}

//! Pages, their fenced blocks, their sections and their links.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder that holds the project.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a page, by its path below the project's folder.
pub fn page(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// What stands behind the fence, such as `sh run`.
    pub info: String,
    pub text: String,
}

/// The fenced blocks of a page, in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { info: info.trim().to_owned(), text: String::new() }),
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// The sections of a page: a heading of that depth or less ends one. Heading and text.
pub fn sections<'a>(page: &'a str, mark: &str) -> Vec<(&'a str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix(mark).and_then(|rest| rest.strip_prefix(' ')) {
            sections.push((heading, String::new()));
            inside = true;
        } else if line.starts_with("# ") || line.starts_with("## ") {
            inside = false;
        } else if let (true, Some((_, text))) = (inside, sections.last_mut()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

/// What stands between backticks in the first cells of a text's tables.
pub fn first_cells(text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// All pages of the project.
pub fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top().join("docs"), top().join("keys")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let above = fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().path());
    found.extend(above.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    for path in pages {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let elsewhere = link.starts_with("https://") || file.is_empty();
            assert!(elsewhere || path.with_file_name(file).exists(), "{}: `{link}`", path.display());
        }
    }
}

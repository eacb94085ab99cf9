//! Edits of a policy file's text that keep its comments and order. None where the text has no form to edit.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use crate::trust::policy::{ImagePattern, RootKeys};

const SCOPE: &str = "scope";
const IMAGES: &str = "images";
const ROOT: &str = "root";

/// A new scope at the end of the scopes.
pub(super) fn append(text: &str, images: &ImagePattern, pin: &RootKeys) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let scopes = document.entry(SCOPE).or_insert(Item::ArrayOfTables(ArrayOfTables::new())).as_array_of_tables_mut()?;
    let mut table = Table::new();
    table.insert(IMAGES, list_of(images));
    table.insert("mode", toml_edit::value("enforce"));
    table.insert(ROOT, root_of(pin));
    push(scopes, table);
    Some(document.to_string())
}

/// Another root for one pattern of the scope at a place.
pub(super) fn set_root(text: &str, at: usize, images: &ImagePattern, pin: &RootKeys) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let scopes = document.get_mut(SCOPE)?.as_array_of_tables_mut()?;
    let scope = scopes.get_mut(at)?;
    if scope.get(IMAGES)?.as_array()?.len() == 1 {
        replace_root(scope, pin);
        return Some(document.to_string());
    }
    let mut own = scope.clone();
    take_out(scope, images)?;
    own.decor_mut().clear();
    own.insert(IMAGES, list_of(images));
    replace_root(&mut own, pin);
    push(scopes, own);
    Some(document.to_string())
}

/// One pattern less in the scope at a place; no scope without the last.
pub(super) fn remove(text: &str, at: usize, images: &ImagePattern) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let scopes = document.get_mut(SCOPE)?.as_array_of_tables_mut()?;
    if take_out(scopes.get_mut(at)?, images)? == 0 {
        scopes.remove(at);
    }
    Some(document.to_string())
}

fn push(scopes: &mut ArrayOfTables, mut table: Table) {
    // At the place of the last scope, so that it comes right after it and before what follows.
    let last = scopes.iter().last().and_then(Table::position);
    table.set_position(last);
    table.decor_mut().set_prefix("\n");
    scopes.push(table);
}

/// Takes a pattern, however it is spelled, out of a scope's list. Returns how many stay.
fn take_out(scope: &mut Table, images: &ImagePattern) -> Option<usize> {
    let list = scope.get_mut(IMAGES)?.as_array_mut()?;
    let is_it = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).as_ref() == Some(images);
    let at = list.iter().position(is_it)?;
    let taken = list.remove(at);
    // The first of a list stands without the space that a second has.
    if let (0, Some(first)) = (at, list.get_mut(0)) {
        *first.decor_mut() = taken.decor().clone();
    }
    Some(list.len())
}

fn replace_root(scope: &mut Table, pin: &RootKeys) {
    match scope.get_mut(ROOT) {
        // In place, so that the spacing of the line stays.
        Some(Item::Value(value @ Value::InlineTable(_)))
            if !value.as_inline_table().is_some_and(InlineTable::is_dotted) =>
        {
            let decor = value.decor().clone();
            *value = Value::InlineTable(inline_root(pin));
            *value.decor_mut() = decor;
        }
        _ => {
            scope.remove(ROOT);
            scope.insert(ROOT, root_of(pin));
        }
    }
}

fn list_of(images: &ImagePattern) -> Item {
    toml_edit::value(Array::from_iter([images.as_str()]))
}

fn root_of(pin: &RootKeys) -> Item {
    toml_edit::value(inline_root(pin))
}

fn inline_root(pin: &RootKeys) -> InlineTable {
    // TOML integers are signed; what was read from one fits.
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut root = InlineTable::new();
    root.insert("keys", Value::Array(pin.keys().iter().map(crate::trust::KeyId::as_str).collect()));
    root.insert("threshold", number(pin.threshold() as u64).into());
    root.insert("min_version", number(pin.min_version().get()).into());
    root
}

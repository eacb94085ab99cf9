//! A TOML table that is read field by field, so that an error names file, line and field.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Error;

/// Most entries of one list.
const MAX_ENTRIES: usize = 10_000;

/// A file's name and text, for positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Parses the text as TOML.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Error> {
        DeTable::parse(self.text)
            .map_err(|error| self.invalid(&error.span().unwrap_or_default(), None, error.message().to_owned()))
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        1 + before.matches('\n').count()
    }

    fn invalid(&self, span: &Range<usize>, field: Option<String>, message: String) -> Error {
        Error::Invalid { path: self.path.to_owned(), line: self.line(span), field, message }
    }
}

/// One table of a file. Its unknown fields were refused.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    /// The path of the table with a dot at its end; empty for the file itself.
    prefix: String,
    span: Range<usize>,
    fields: &'a DeTable<'a>,
}

/// One value with its place.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    source: Source<'a>,
    name: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    /// The file's own table, in which only `known` fields may stand.
    pub(super) fn whole(source: Source<'a>, table: &'a Spanned<DeTable<'a>>, known: &[&str]) -> Result<Self, Error> {
        let whole = Self { source, prefix: String::new(), span: 0..0, fields: table.get_ref() };
        whole.refuse_unknown(known)
    }

    fn refuse_unknown(self, known: &[&str]) -> Result<Self, Error> {
        // The first in the file, not in the alphabet.
        let unknown = self.fields.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            None => Ok(self),
            Some(key) => {
                let name = format!("{}{}", self.prefix, key.get_ref().escape_debug());
                let message = format!("unknown field: expected one of {}", known.join(", "));
                Err(self.source.invalid(&key.span(), Some(name), message))
            }
        }
    }

    /// The line where it begins.
    pub(super) fn line(&self) -> usize {
        self.source.line(&self.span)
    }

    /// A field that may be left out.
    pub(super) fn field(&self, name: &str) -> Option<Field<'a>> {
        let value = self.fields.get(name)?;
        let name = format!("{}{name}", self.prefix);
        Some(Field { source: self.source, name, span: value.span(), value: value.get_ref() })
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &str) -> Result<Field<'a>, Error> {
        self.field(name).ok_or_else(|| {
            self.source.invalid(&self.span, Some(format!("{}{name}", self.prefix)), "the field is missing".to_owned())
        })
    }

    /// An error about the table as a whole.
    pub(super) fn invalid(&self, message: impl Into<String>) -> Error {
        let name = self.prefix.trim_end_matches('.');
        self.source.invalid(&self.span, (!name.is_empty()).then(|| name.to_owned()), message.into())
    }
}

impl<'a> Field<'a> {
    /// An error about this field.
    pub(super) fn invalid(&self, message: impl Into<String>) -> Error {
        self.source.invalid(&self.span, Some(self.name.clone()), message.into())
    }

    fn expected(&self, what: &str) -> Error {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.invalid(format!("expected {what}, found {found}"))
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str, Error> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected("a text")),
        }
    }

    /// A text that another type reads.
    pub(super) fn parsed<T: FromStr<Err: ToString>>(&self) -> Result<T, Error> {
        self.text()?.parse().map_err(|error: T::Err| self.invalid(error.to_string()))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Error> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.invalid(format!("expected {}, found `{}`", words.join(" or "), text.escape_debug()))
        })
    }

    /// A positive integer.
    pub(super) fn positive(&self) -> Result<u64, Error> {
        let DeValue::Integer(integer) = self.value else { return Err(self.expected("a positive integer")) };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| *number > 0);
        number.ok_or_else(|| self.invalid(format!("expected a positive integer, found {integer}")))
    }

    /// True or false.
    pub(super) fn flag(&self) -> Result<bool, Error> {
        match self.value {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A table in which only `known` fields may stand.
    pub(super) fn table(&self, known: &[&str]) -> Result<Table<'a>, Error> {
        let DeValue::Table(fields) = self.value else { return Err(self.expected("a table")) };
        let prefix = format!("{}.", self.name);
        Table { source: self.source, prefix, span: self.span.clone(), fields }.refuse_unknown(known)
    }

    /// The entries of a list, which may be empty.
    pub(super) fn list(&self) -> Result<Vec<Field<'a>>, Error> {
        let DeValue::Array(array) = self.value else { return Err(self.expected("a list")) };
        if array.len() > MAX_ENTRIES {
            return Err(self.invalid(format!("the list has {} entries, more than {MAX_ENTRIES}", array.len())));
        }
        let entry = |value: &'a Spanned<DeValue<'a>>| Field {
            source: self.source,
            name: self.name.clone(),
            span: value.span(),
            value: value.get_ref(),
        };
        Ok(array.iter().map(entry).collect())
    }

    /// The entries of a list of different texts, read one by one. An empty list is refused: left out, the field has no
    /// say; empty, it would allow nothing, which nobody means.
    pub(super) fn texts<T>(&self, read: impl Fn(&Field<'a>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let entries = self.list()?;
        if entries.is_empty() {
            return Err(self.invalid("the list is empty"));
        }
        let mut seen = BTreeSet::new();
        for entry in &entries {
            if !seen.insert(entry.text()?) {
                return Err(entry.invalid(format!("`{}` stands twice", entry.text()?.escape_debug())));
            }
        }
        entries.iter().map(read).collect()
    }
}

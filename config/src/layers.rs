//! The layers a value is looked up in: flags over the environment over the file.
//!
//! Text from the environment or a flag has no TOML type. It is offered as a text first, then as
//! TOML (`5`, `true`, `["a"]`), and the first that the key's closure takes is the value.

use std::{cell::Cell, collections::BTreeMap};

use defences::{Defence, stands};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use crate::{effective::Origin, error::Problem, source::Source};

/// One variable or flag.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    /// The variable's or the flag's name.
    pub(crate) name: String,
    /// The dotted key, for a flag; a variable's key follows from its name.
    pub(crate) path: Option<String>,
    text: String,
    used: Cell<bool>,
}

/// The file's table with the lines of its keys, and what lies over it.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) name: String,
    pub(crate) file: Table,
    lines: BTreeMap<Vec<String>, usize>,
    prefix: String,
    overlays: Vec<Overlay>,
}

impl Layers {
    pub(crate) fn new(source: Source) -> Result<Self, Problem> {
        let Source { name, text } = source;
        let failed = |error: &toml::de::Error| syntax(&name, &text, error);
        let file: Table = text.parse().map_err(|error| failed(&error))?;
        let spanned = DeTable::parse(&text).map_err(|error| failed(&error))?;
        let mut lines = BTreeMap::new();
        note_lines(&text, &mut Vec::new(), spanned.get_ref(), &mut lines);
        Ok(Self { name, file, lines, prefix: String::new(), overlays: Vec::new() })
    }

    pub(crate) fn environment(&mut self, prefix: String, variables: Vec<(String, String)>) {
        self.prefix = prefix;
        self.overlays.extend(variables.into_iter().map(|(name, text)| Overlay {
            name,
            path: None,
            text,
            used: Cell::new(false),
        }));
    }

    pub(crate) fn flag(&mut self, flag: &str, path: &str, text: String) {
        self.overlays.push(Overlay {
            name: flag.to_owned(),
            path: Some(path.to_owned()),
            text,
            used: Cell::new(false),
        });
    }

    /// What `path` may be read as, the likeliest first, and where it came from. A secret is not
    /// looked for in the environment.
    pub(crate) fn find(&self, path: &[String], secret: bool) -> Option<(Vec<Value>, Origin)> {
        let secret = secret && stands(Defence::EnvironmentSecret);
        self.mark_used(path, secret);
        if let Some(overlay) = self.overlay(path, secret) {
            let origin = match overlay.path {
                Some(_) => Origin::Flag(overlay.name.clone()),
                None => Origin::Environment(overlay.name.clone()),
            };
            return Some((typed(&overlay.text), origin));
        }
        let value = self.in_file(path)?.clone();
        Some((vec![value], Origin::File { line: self.line(path) }))
    }

    pub(crate) fn is_set(&self, path: &[String]) -> bool {
        self.overlay(path, false).is_some() || self.in_file(path).is_some()
    }

    pub(crate) fn in_file(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.file.get(first)?, |value, step| match value {
            Value::Table(table) => table.get(step),
            Value::Array(members) => members.get(step.parse::<usize>().ok()?),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => None,
        })
    }

    /// The line that a key stands at, counted from 1.
    pub(crate) fn line(&self, path: &[String]) -> Option<usize> {
        self.lines.get(path).copied()
    }

    /// The name of the environment variable that sets `path`.
    pub(crate) fn variable(&self, path: &[String]) -> String {
        format!("{}{}", self.prefix, path.join("_").to_uppercase())
    }

    /// What nobody has asked for.
    pub(crate) fn unused(&self) -> impl Iterator<Item = &Overlay> {
        self.overlays.iter().filter(|overlay| !overlay.used.get())
    }

    /// A variable that a flag overrides is known all the same.
    fn mark_used(&self, path: &[String], secret: bool) {
        let (dotted, variable) = (path.join("."), self.variable(path));
        for overlay in &self.overlays {
            let by_flag = overlay.path.as_ref() == Some(&dotted);
            let by_variable = !secret && overlay.path.is_none() && overlay.name == variable;
            if by_flag || by_variable {
                overlay.used.set(true);
            }
        }
    }

    /// The flag, or else the variable, that sets `path`.
    fn overlay(&self, path: &[String], secret: bool) -> Option<&Overlay> {
        let (dotted, variable) = (path.join("."), self.variable(path));
        let flag = |o: &&Overlay| o.path.as_ref() == Some(&dotted);
        let set = |o: &&Overlay| !secret && o.path.is_none() && o.name == variable;
        self.overlays.iter().rfind(flag).or_else(|| self.overlays.iter().find(set))
    }
}

fn typed(text: &str) -> Vec<Value> {
    let mut candidates = vec![Value::String(text.to_owned())];
    let table = format!("value = {text}").parse::<Table>();
    candidates.extend(table.ok().and_then(|mut table| table.remove("value")));
    candidates
}

fn note_lines(
    text: &str,
    path: &mut Vec<String>,
    table: &DeTable<'_>,
    lines: &mut BTreeMap<Vec<String>, usize>,
) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        lines.insert(path.clone(), line_of(text, key.span().start));
        note_value(text, path, value, lines);
        path.pop();
    }
}

fn note_value(
    text: &str,
    path: &mut Vec<String>,
    value: &Spanned<DeValue<'_>>,
    lines: &mut BTreeMap<Vec<String>, usize>,
) {
    if let Some(table) = value.get_ref().as_table() {
        note_lines(text, path, table, lines);
    }
    for (index, member) in value.get_ref().as_array().into_iter().flatten().enumerate() {
        path.push(index.to_string());
        lines.insert(path.clone(), line_of(text, member.span().start));
        note_value(text, path, member, lines);
        path.pop();
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The parser's complaint without the line that it shows: that line may hold a password.
fn syntax(name: &str, text: &str, error: &toml::de::Error) -> Problem {
    let place = match error.span() {
        Some(span) => format!("{name}:{}", line_of(text, span.start)),
        None => name.to_owned(),
    };
    let hint = format!("not TOML: {}", error.message());
    Problem { place, key: String::new(), value: None, hint }
}

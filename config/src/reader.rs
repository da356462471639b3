//! Takes a configuration apart, key by key, and collects every mistake on the way.
//!
//! A [`Reader`] holds the text, the environment and the flags; a [`Section`] is a table of it. What
//! a program asks for is what there may be: [`Reader::finish`] reports every key nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use defences::{Defence, stands};
use toml::{Table, Value};

use crate::{
    effective::{Effective, Entry, Origin},
    error::{Errors, Problem},
    layers::{Layers, Overlay},
    nearest::nearest,
    secret::{MASK, Secret},
    source::Source,
};

/// A value is shown in errors up to this many characters.
const SHOWN: usize = 80;

/// Reads one configuration: see the crate's example.
#[derive(Debug)]
pub struct Reader {
    layers: Layers,
    known: BTreeMap<Vec<String>, Kind>,
    problems: Vec<Problem>,
    entries: Vec<Entry>,
}

/// What the program asked for at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    Secret,
    Section,
}

/// One table of the configuration.
#[derive(Debug)]
pub struct Section<'a> {
    reader: &'a mut Reader,
    path: Vec<String>,
}

impl Reader {
    /// Starts on a file's text.
    ///
    /// # Errors
    /// When it is not TOML: the file, the line and what the parser expected, without the text
    /// itself, which may be a secret.
    pub fn new(source: Source) -> Result<Self, Errors> {
        let layers = Layers::new(source).map_err(|problem| Errors { problems: vec![problem] })?;
        Ok(Self { layers, known: BTreeMap::new(), problems: Vec::new(), entries: Vec::new() })
    }

    /// Lays environment variables over the file: `stratum.listen` is `PREFIX_STRATUM_LISTEN`, and
    /// anything else that begins with the prefix is an unknown key, save `except` (full names).
    #[must_use]
    pub fn environment(
        mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (String, String)>,
        except: &[&str],
    ) -> Self {
        let prefix = format!("{}_", prefix.trim_end_matches('_'));
        let ours = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(&prefix) && !except.contains(&name.as_str()))
            .collect();
        self.layers.environment(prefix, ours);
        self
    }

    /// Lays a flag of the command line over everything: `flag` is its name (`-t`), `path` the
    /// dotted key it sets, `text` what the user wrote.
    #[must_use]
    pub fn flag(mut self, flag: &str, path: &str, text: impl Into<String>) -> Self {
        self.layers.flag(flag, path, text.into());
        self
    }

    /// The keys that stand before the first `[section]`.
    pub fn root(&mut self) -> Section<'_> {
        Section { reader: self, path: Vec::new() }
    }

    /// The section `[name]`; one that is not in the file reads as empty.
    pub fn section(&mut self, name: &str) -> Section<'_> {
        self.enter(vec![name.to_owned()])
    }

    /// Ends the reading. `config` is what the program made of the values; it may be `None` only
    /// where a read returned `None`, which is where there is an error to report.
    ///
    /// # Errors
    /// Every mistake found, with unknown keys, environment variables and flags.
    pub fn finish<T>(mut self, config: Option<T>) -> Result<(T, Effective), Errors> {
        let root = self.layers.file.clone();
        if stands(Defence::UnknownKey) {
            self.unknown_keys(&mut Vec::new(), &root);
        }
        self.unknown_overlays();
        match config {
            Some(config) if self.problems.is_empty() => Ok((config, Effective::new(self.entries))),
            Some(_) => Err(Errors { problems: self.problems }),
            None => {
                if self.problems.is_empty() {
                    self.report(&[], None, "every value was read, yet the program made nothing");
                }
                Err(Errors { problems: self.problems })
            }
        }
    }

    fn enter(&mut self, path: Vec<String>) -> Section<'_> {
        self.known.insert(path.clone(), Kind::Section);
        if let Some(value) = self.layers.in_file(&path).filter(|value| !value.is_table()).cloned() {
            self.report(&path, Some(&value), "expected a table of keys");
        }
        Section { reader: self, path }
    }

    /// Reads one key: the outer `None` is a mistake, by now reported; the inner one "not set".
    fn read<T>(
        &mut self,
        path: Vec<String>,
        kind: Kind,
        default: Option<&str>,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let (candidates, origin) = match self.layers.find(&path, kind == Kind::Secret) {
            Some(found) => found,
            None => (default.and_then(as_toml).into_iter().collect(), Origin::Default),
        };
        self.known.insert(path.clone(), kind);
        if candidates.is_empty() && default.is_none() {
            self.keep(&path, kind, None);
            return Some(None);
        }
        for value in &candidates {
            if let Ok(parsed) = parse(value) {
                self.keep(&path, kind, Some((value.to_string(), origin)));
                return Some(Some(parsed));
            }
        }
        let hint = candidates.last().map(&parse).and_then(Result::err).unwrap_or_default();
        let whose = if origin == Origin::Default { "the built-in default is wrong; " } else { "" };
        self.report_from(&path, candidates.first(), &format!("{whose}expected {hint}"), &origin);
        None
    }

    fn keep(&mut self, path: &[String], kind: Kind, value: Option<(String, Origin)>) {
        self.entries.push(Entry { path: path.join("."), value, secret: kind == Kind::Secret });
    }

    fn report(&mut self, path: &[String], value: Option<&Value>, hint: &str) {
        let origin = Origin::File { line: self.layers.line(path) };
        self.report_from(path, value, hint, &origin);
    }

    fn report_from(&mut self, path: &[String], value: Option<&Value>, hint: &str, origin: &Origin) {
        let secret = self.known.get(path) == Some(&Kind::Secret);
        let place = match origin {
            Origin::File { line: Some(line) } => format!("{}:{line}", self.layers.name),
            Origin::File { line: None } | Origin::Default => self.layers.name.clone(),
            Origin::Environment(name) => format!("environment variable {name}"),
            Origin::Flag(name) => format!("flag {name}"),
        };
        self.problems.push(Problem {
            place,
            key: path.join("."),
            value: value.map(|value| if secret { MASK.to_owned() } else { shown(value) }),
            hint: hint.to_owned(),
        });
    }

    fn unknown_keys(&mut self, path: &mut Vec<String>, table: &Table) {
        for (key, value) in table {
            path.push(key.clone());
            match (self.known.get(path.as_slice()), value) {
                (Some(Kind::Key | Kind::Secret), _) => {}
                (Some(Kind::Section), Value::Table(inner)) => self.unknown_keys(path, inner),
                (Some(Kind::Section), Value::Array(members)) => {
                    for (index, member) in members.iter().enumerate() {
                        path.push(index.to_string());
                        if let Value::Table(inner) = member {
                            self.unknown_keys(path, inner);
                        }
                        path.pop();
                    }
                }
                // A section that is something else was reported when it was entered.
                (Some(Kind::Section), _) => {}
                (None, _) => {
                    let hint = self.unknown_hint(path);
                    self.report(path, None, &hint);
                }
            }
            path.pop();
        }
    }

    fn unknown_hint(&self, path: &[String]) -> String {
        let Some((name, parent)) = path.split_last() else { return "unknown key".to_owned() };
        let siblings: BTreeSet<&str> = self
            .known
            .keys()
            .filter(|known| known.len() == path.len() && known.starts_with(parent))
            .filter_map(|known| known.last().map(String::as_str))
            .collect();
        match nearest(name, siblings.iter().copied()) {
            Some(near) => format!("unknown key; did you mean \"{near}\"?"),
            None => {
                let names: Vec<&str> = siblings.into_iter().collect();
                format!("unknown key; here there may be {}", names.join(", "))
            }
        }
    }

    fn unknown_overlays(&mut self) {
        let keys = |wanted: Kind| {
            let of_kind = self.known.iter().filter(move |(_, kind)| **kind == wanted);
            of_kind.map(|(path, _)| self.layers.variable(path)).collect::<Vec<String>>()
        };
        let (plain, secret) = (keys(Kind::Key), keys(Kind::Secret));
        let unused: Vec<Overlay> = self.layers.unused().cloned().collect();
        for overlay in unused {
            let hint = if secret.contains(&overlay.name) {
                "a secret is read from the file, never from the environment".to_owned()
            } else {
                match nearest(&overlay.name, plain.iter().map(String::as_str)) {
                    Some(near) if overlay.path.is_none() => {
                        format!("unknown key; did you mean {near}?")
                    }
                    Some(_) | None => "unknown key".to_owned(),
                }
            };
            let place = match overlay.path {
                None => format!("environment variable {}", overlay.name),
                Some(_) => format!("flag {}", overlay.name),
            };
            let key = overlay.path.unwrap_or_else(|| overlay.name.clone());
            self.problems.push(Problem { place, key, value: None, hint });
        }
    }
}

impl Section<'_> {
    /// A key that has to be there. `None`: it is not, or it is wrong, and that is reported.
    pub fn required<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let path = self.child(key);
        let read = self.reader.read(path.clone(), Kind::Key, None, &parse)?;
        if read.is_none() {
            self.missing(&path, &wanted(&parse));
        }
        read
    }

    /// A key that may be left out. Outer `None`: wrong, and reported. Inner `None`: not set.
    pub fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let path = self.child(key);
        self.reader.read(path, Kind::Key, None, parse)
    }

    /// A key with a default, written as TOML (`"60"`, `"\"pplns\""`) and parsed as the user's value
    /// would be. `None`: the value is wrong, and that is reported.
    pub fn or<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let path = self.child(key);
        self.reader.read(path, Kind::Key, Some(default), parse).flatten()
    }

    /// A secret that may be left out; never read from the environment, never printed.
    pub fn secret(&mut self, key: &str) -> Option<Option<Secret>> {
        let path = self.child(key);
        self.reader.read(path, Kind::Secret, None, secret)
    }

    /// A secret that has to be there.
    pub fn required_secret(&mut self, key: &str) -> Option<Secret> {
        let read = self.secret(key)?;
        if read.is_none() {
            let path = self.child(key);
            self.missing(&path, &wanted(secret));
        }
        read
    }

    /// A table within this one, written `[a.b]` or `b = { … }`.
    pub fn section(&mut self, key: &str) -> Section<'_> {
        let path = self.child(key);
        self.reader.enter(path)
    }

    /// A list of tables, written `[[key]]`; not there is an empty list. `None` where the list is
    /// something else, or where `read` returned `None` for a member.
    pub fn each<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let path = self.child(key);
        self.reader.known.insert(path.clone(), Kind::Section);
        let count = match self.reader.layers.in_file(&path).cloned() {
            None => 0,
            Some(Value::Array(members)) if members.iter().all(Value::is_table) => members.len(),
            Some(other) => {
                let hint = format!("expected a list of tables, each written [[{key}]]");
                self.reader.report(&path, Some(&other), &hint);
                return None;
            }
        };
        let mut list = self.section_at(path);
        let members: Vec<Option<T>> =
            (0..count).map(|index| read(&mut list.section(&index.to_string()))).collect();
        members.into_iter().collect()
    }

    /// Whether the file, a flag or the environment sets `key`.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.reader.layers.is_set(&self.child(key))
    }

    /// Reports a mistake that takes more than one key to see, against the key to change.
    pub fn problem(&mut self, key: &str, hint: &str) {
        let path = self.child(key);
        let value = self.reader.layers.in_file(&path).cloned();
        self.reader.report(&path, value.as_ref(), hint);
    }

    fn section_at(&mut self, path: Vec<String>) -> Section<'_> {
        Section { reader: self.reader, path }
    }

    fn child(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    fn missing(&mut self, path: &[String], wanted: &str) {
        self.reader.report(path, None, &format!("missing; expected {wanted}"));
    }
}

fn secret(value: &Value) -> Result<Secret, String> {
    crate::parse::string()(value).map(Secret::new)
}

/// What a closure says it wants, asked with a value that nothing takes.
fn wanted<T>(parse: impl Fn(&Value) -> Result<T, String>) -> String {
    parse(&Value::Table(Table::new())).err().unwrap_or_else(|| "a value".to_owned())
}

fn as_toml(text: &str) -> Option<Value> {
    format!("value = {text}").parse::<Table>().ok()?.remove("value")
}

fn shown(value: &Value) -> String {
    let text = if value.is_table() { "a table".to_owned() } else { value.to_string() };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests;

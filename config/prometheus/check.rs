//! Holds the rules and the dashboard against what a running program serves: every metric that
//! they name, with every label value that they ask for, must be there.
//!
//! Compiled into the tests `metrics` of the pool and of the miner, as neither package may use the
//! other: each answers for the selectors of its own job. Read [`unmatched`]. It deliberately does
//! not parse `PromQL` and finds names, matchers and groupings only; that an expression means what it
//! should is for `promtool test rules` to say.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::explicit_write,
    reason = "a test that cannot go on fails; what is left out is said past the test's capture"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The jobs of prometheus.yml. Pool and miner serve metrics of the same names: a selector without
/// its job would add up the two.
const JOBS: [&str; 2] = ["wattproof-pool", "wattproof-miner"];
/// Series that Prometheus makes itself.
const BUILT_IN: [&str; 2] = ["up", "ALERTS"];
/// Labels that a scrape adds.
const SCRAPED: [&str; 2] = ["job", "instance"];
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// Where an expression stands, and what it says.
#[derive(Debug)]
struct Expression {
    place: String,
    text: String,
}

/// What an expression asks for.
#[derive(Debug, Default)]
struct Query {
    selectors: Vec<Selector>,
    /// The labels in `by (…)`, `on (…)` and their like.
    groups: BTreeSet<String>,
}

/// A name and its label matchers: as asked for, or, all of them `=`, as served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// A file of the repository's `config` folder.
pub(crate) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(path)
}

/// Everything that the rules and the dashboard ask of `job` and that `exposition` does not serve,
/// one line each; and everything that they ask of no job.
pub(crate) fn unmatched(job: &str, exposition: &str) -> Vec<String> {
    let rules = read("prometheus/rules.yml");
    let expressions: Vec<Expression> =
        of_rules(&rules).into_iter().chain(of_dashboard(&read("grafana/wattproof.json"))).collect();
    let records: BTreeSet<&str> = values(&rules, "record").collect();
    let mut asked = 0;
    let mut missing = Vec::new();
    let served = samples(exposition);
    for Expression { place, text } in &expressions {
        let query = queries(text);
        asked += query.selectors.iter().filter(|selector| selector.job() == Some(job)).count();
        let complaints = complaints(&query, job, &records, &served);
        missing.extend(complaints.iter().map(|complaint| format!("{place}: {complaint}")));
    }
    assert!(asked >= 10, "only {asked} selectors of {job} were found");
    missing
}

/// What `promtool` says of it, if it complains: arguments, and text for its standard input.
/// `None` where it is content, and where there is no promtool, which is said on stderr by `test`'s
/// name, or is a failure where `WATTPROOF_STRICT` is 1.
pub(crate) fn promtool(test: &str, arguments: &[&str], input: &str) -> Option<String> {
    let started = Command::new("promtool")
        .args(arguments)
        .current_dir(shipped("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            leave_out(test);
            return None;
        }
        Err(error) => panic!("promtool cannot be started: {error}"),
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (!output.status.success()).then(|| format!("{arguments:?}, {}: {said}", output.status))
}

/// Past the test harness, which keeps what a passing test prints.
fn leave_out(test: &str) {
    let strict = env::var("WATTPROOF_STRICT").is_ok_and(|value| value == "1");
    assert!(!strict, "promtool is not installed (Debian's package prometheus)");
    writeln!(std::io::stderr(), "\nleft out: promtool is not installed: {test}").unwrap();
}

fn read(path: &str) -> String {
    let path = shipped(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn complaints(
    query: &Query,
    job: &str,
    records: &BTreeSet<&str>,
    served: &[Selector],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut labels: BTreeSet<&str> = SCRAPED.into();
    let mut is_ours_alone = true;
    for selector in &query.selectors {
        let name = selector.name.as_str();
        if BUILT_IN.contains(&name) {
            continue;
        }
        if name.contains(':') {
            is_ours_alone = false;
            if !records.contains(name) {
                found.push(format!("no rule records {name}"));
            }
        } else if selector.job() == Some(job) {
            found.extend(selector.complaint(served));
            let same = served.iter().filter(|sample| sample.name == name);
            labels.extend(same.flat_map(|sample| &sample.matchers).map(|m| m.label.as_str()));
        } else {
            is_ours_alone = false;
            if !selector.job().is_some_and(|job| JOBS.contains(&job)) {
                found.push(format!("{name} names no job of {JOBS:?}"));
            }
        }
    }
    if is_ours_alone {
        let strange = query.groups.iter().filter(|label| !labels.contains(label.as_str()));
        found.extend(strange.map(|label| format!("nothing has the label {label}")));
    }
    found
}

impl Selector {
    fn job(&self) -> Option<&str> {
        let job = self.matchers.iter().find(|m| m.label == "job" && m.operator == "=")?;
        Some(&job.value)
    }

    /// What of this is not served: the name, or a value that a label never has. Each alternative of
    /// a pattern counts, and so does a value that is excluded: both may be misspelt.
    fn complaint(&self, served: &[Self]) -> Option<String> {
        let same: Vec<&Self> = served.iter().filter(|sample| sample.name == self.name).collect();
        if same.is_empty() {
            return Some(format!("{} is not served", self.name));
        }
        let asked = self.matchers.iter().filter(|matcher| matcher.label != "job");
        let wanted = asked.flat_map(|m| m.value.split('|').map(move |value| (&m.label, value)));
        let has = |label: &str, value: &str| {
            let is_it = |m: &Matcher| m.label == label && m.value == value;
            same.iter().any(|sample| sample.matchers.iter().any(is_it))
        };
        let mut missing = wanted.filter(|(label, value)| !has(label, value));
        missing.next().map(|(label, value)| format!("{} never has {label}={value:?}", self.name))
    }
}

/// The samples of an exposition: their lines read like selectors.
fn samples(exposition: &str) -> Vec<Selector> {
    let lines = exposition.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| queries(line).selectors).collect()
}

/// The values of a key of the rules, on lines of their own.
fn values<'a>(yaml: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let key = format!("{key}:");
    yaml.lines().filter_map(move |line| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix(&key).map(str::trim)
    })
}

/// Every `expr` of the rules, on its line or as an indented block below it.
fn of_rules(yaml: &str) -> Vec<Expression> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = yaml.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(value) = line.trim_start().strip_prefix("expr:") else { continue };
        let below = lines[number + 1..].iter();
        let block = below.take_while(|next| next.trim().is_empty() || indent(next) > indent(line));
        let block: Vec<&str> = block.copied().collect();
        let text = if value.trim() == "|" { block.join(" ") } else { value.to_owned() };
        found.push(Expression { place: format!("rules.yml:{}", number + 1), text });
    }
    let rules = values(yaml, "record").chain(values(yaml, "alert")).count();
    assert_eq!(found.len(), rules, "each rule has an expression");
    found
}

/// Every `expr` of the dashboard, by its panel's title.
fn of_dashboard(json: &str) -> Vec<Expression> {
    fn walk(value: &Value, place: &str, found: &mut Vec<Expression>) {
        let place = value.get("title").and_then(Value::as_str).unwrap_or(place);
        match value {
            Value::Object(members) => {
                if let Some(text) = members.get("expr").and_then(Value::as_str) {
                    let (place, text) = (format!("wattproof.json: {place}"), text.to_owned());
                    found.push(Expression { place, text });
                }
                members.values().for_each(|member| walk(member, place, found));
            }
            Value::Array(members) => members.iter().for_each(|member| walk(member, place, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(&serde_json::from_str(json).expect("the dashboard is JSON"), "", &mut found);
    found
}

/// The names, matchers and groupings of an expression.
fn queries(text: &str) -> Query {
    let mut query = Query::default();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !is_word(c)).map_or(rest, |end| &rest[..end]);
        rest = if first.is_ascii_digit() {
            &rest[word.len()..]
        } else if !word.is_empty() {
            take_word(word, &rest[word.len()..], &mut query)
        } else if first == '[' {
            after(rest, ']')
        } else {
            &rest[first.len_utf8()..]
        };
        rest = rest.trim_start();
    }
    query
}

/// Takes what `word` begins; gives what is left after it.
fn take_word<'a>(word: &str, rest: &'a str, query: &mut Query) -> &'a str {
    let next = rest.trim_start();
    if GROUPING.contains(&word) {
        let Some(list) = next.strip_prefix('(') else { return rest };
        let (list, rest) = list.split_once(')').expect("a list of labels ends");
        let labels = list.split(',').map(str::trim).filter(|label| !label.is_empty());
        query.groups.extend(labels.map(str::to_owned));
        return rest;
    }
    let next_word = next.split(|c| !is_word(c)).next().unwrap_or_default();
    let is_call = next.starts_with('(') || matches!(next_word, "by" | "without");
    if is_call || OPERATORS.contains(&word) {
        return rest;
    }
    let (matchers, rest) = match next.strip_prefix('{') {
        Some(list) => matchers(list),
        None => (Vec::new(), rest),
    };
    query.selectors.push(Selector { name: word.to_owned(), matchers });
    rest
}

/// The matchers up to the closing brace, and what follows it.
fn matchers(mut rest: &str) -> (Vec<Matcher>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return (found, rest);
        }
        let (label, tail) =
            rest.split_at(rest.find(['=', '!']).expect("a matcher has an operator"));
        let (operator, tail) = tail.split_once('"').expect("a matcher's value is quoted");
        let end = tail.match_indices('"').map(|(at, _)| at);
        let end = end.into_iter().find(|at| !tail[..*at].ends_with('\\')).expect("a value ends");
        let (label, operator) = (label.trim().to_owned(), operator.trim().to_owned());
        found.push(Matcher { label, operator, value: tail[..end].to_owned() });
        rest = &tail[end + 1..];
    }
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')
}

#[test]
fn names_matchers_and_groupings_are_found() {
    let text = r#"sum by (le, kind) (rate(a_total{job="j",v!="x"}[5m])) / on (job) group_left () b:c
                  > 0.5 * count(d offset 1h) and up{s=~"p|q"} == 1e12 unless e ^ 0"#;
    let query = queries(text);
    let names: Vec<&str> = query.selectors.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a_total", "b:c", "d", "up", "e"]);
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(query.selectors[0].matchers, [matcher("job", "=", "j"), matcher("v", "!=", "x")]);
    assert_eq!(query.selectors[3].matchers, [matcher("s", "=~", "p|q")]);
    assert_eq!(query.groups, ["job", "kind", "le"].map(str::to_owned).into());
}

#[test]
fn what_is_not_served_is_named() {
    let served = samples("# HELP a A.\na{v=\"x\",job=\"no\"} 1\na{v=\"y\"} 2\nb 3\n");
    let counts: BTreeMap<&str, usize> = served.iter().fold(BTreeMap::new(), |mut counts, s| {
        *counts.entry(s.name.as_str()).or_default() += 1;
        counts
    });
    assert_eq!(counts, BTreeMap::from([("a", 2), ("b", 1)]));
    let complain = |text: &str| complaints(&queries(text), JOBS[0], &["x:y"].into(), &served);
    let job = r#"job="wattproof-pool""#;
    for (text, complaint) in [
        (format!("c{{{job}}}"), "c is not served"),
        (format!("a{{{job},v!=\"z\"}}"), "a never has v=\"z\""),
        (format!("a{{{job},v=~\"x|z\"}}"), "a never has v=\"z\""),
        (format!("sum by (w) (a{{{job}}})"), "nothing has the label w"),
        ("x:z".to_owned(), "no rule records x:z"),
        ("sum(b)".to_owned(), "b names no job of [\"wattproof-pool\", \"wattproof-miner\"]"),
    ] {
        assert_eq!(complain(&text), [complaint], "{text}");
    }
    assert!(complain(&format!("sum by (v) (a{{{job},v=~\"x|y\"}}) / x:y + up")).is_empty());
}

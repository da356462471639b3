//! A reader as a program uses it: what comes out, where from, and every complaint.

use proptest::prelude::*;

use super::*;
use crate::parse;

const TEXT: &str = "
[node]
url = \"http://127.0.0.1:18443\"
auth = \"user:hunter2\"
[stratum]
listen = [\"127.0.0.1:3333\"]
difficulty = { start = 1.0, min = 0.5 }
[[pool]]
url = \"a\"
[[pool]]
url = \"b\"
";

fn reader(text: &str) -> Reader {
    Reader::new(Source::new("pool.toml", text)).unwrap()
}

/// Reads everything that `TEXT` has, and an optional key and a default beside.
fn read(reader: &mut Reader) -> Option<(String, Secret, f64, Vec<String>, u64)> {
    let mut node = reader.section("node");
    let url = node.required("url", parse::string());
    let auth = node.required_secret("auth");
    let timeout = node.or("timeout_seconds", "10", parse::u64_in(1..=60));
    let cookie = node.optional("cookie", parse::path());
    let mut stratum = reader.section("stratum");
    let listen = stratum.required("listen", parse::list_of(parse::socket_address()));
    let mut difficulty = stratum.section("difficulty");
    let start = difficulty.required("start", parse::f64_in(1e-9..=1e12));
    let min = difficulty.required("min", parse::f64_in(1e-9..=1e12));
    let pools = reader.root().each("pool", |pool| pool.required("url", parse::string()));
    let _all_read = (cookie?, listen?, min?);
    Some((url?, auth?, start?, pools?, timeout?))
}

fn complaints(mut reader: Reader) -> String {
    let config = read(&mut reader);
    reader.finish(config).unwrap_err().to_string()
}

#[test]
fn reads_values_and_says_where_they_came_from() {
    let variables = [("WP_STRATUM_DIFFICULTY_START".to_owned(), "2".to_owned())];
    let mut reader =
        reader(TEXT).environment("WP", variables, &[]).flag("--url", "node.url", "http://x");
    let config = read(&mut reader);
    let ((url, auth, start, pools, timeout), effective) = reader.finish(config).unwrap();
    assert_eq!((url.as_str(), auth.expose(), timeout), ("http://x", "user:hunter2", 10));
    assert!((start - 2.0).abs() < f64::EPSILON);
    assert_eq!(pools, ["a", "b"]);
    let expected = "\
node.url = \"http://x\"  # from the flag --url
node.auth = \"***\"  # from the file, line 4
node.timeout_seconds = 10  # default
# node.cookie is not set
stratum.listen = [\"127.0.0.1:3333\"]  # from the file, line 6
stratum.difficulty.start = 2  # from WP_STRATUM_DIFFICULTY_START
stratum.difficulty.min = 0.5  # from the file, line 7
pool.0.url = \"a\"  # from the file, line 9
pool.1.url = \"b\"  # from the file, line 11
";
    assert_eq!(effective.to_string(), expected);
    expected.parse::<Table>().unwrap();
    assert_eq!(effective.get("node.timeout_seconds"), Some(("10", &Origin::Default)));
    assert_eq!(effective.keys().count(), 9);
}

#[test]
fn names_every_mistake_at_once() {
    let text = "
typo = 1
[node]
ulr = \"http://127.0.0.1:18443\"
auth = 5
timeout_seconds = 0
[stratum]
listen = \"localhost\"
difficulty = { start = 1.0, min = 0.5, unknown = 1 }
[[pool]]
";
    let expected = "\
pool.toml: node.url: missing; expected a text in quotes, not empty
pool.toml:5: node.auth = ***: expected a text in quotes, not empty
pool.toml:6: node.timeout_seconds = 0: expected a whole number from 1 to 60
pool.toml:8: stratum.listen = \"localhost\": expected a list whose members are each an address \
with a port such as \"127.0.0.1:3333\" (invalid socket address syntax)
pool.toml: pool.0.url: missing; expected a text in quotes, not empty
pool.toml:4: node.ulr: unknown key; did you mean \"url\"?
pool.toml:9: stratum.difficulty.unknown: unknown key; here there may be min, start
pool.toml:2: typo: unknown key; here there may be node, pool, stratum";
    assert_eq!(complaints(reader(text)), expected);
}

#[test]
fn a_section_that_is_no_table_and_a_list_that_is_no_list() {
    let said = complaints(reader(&TEXT.replace("difficulty = {", "difficulty = 5 #")));
    assert!(said.contains("stratum.difficulty = 5: expected a table of keys"), "{said}");
    let said = complaints(reader("pool = 5"));
    assert!(said.contains("pool = 5: expected a list of tables, each written [[pool]]"), "{said}");
}

#[test]
fn the_environment_cannot_set_a_secret_or_an_unknown_key() {
    let variables =
        [("WP_NODE_AUTH", "s3cret"), ("WP_NODE_ULR", "x"), ("WP_CONFIG", "x"), ("PATH", "")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
    let said = complaints(reader(TEXT).environment("WP_", variables, &["WP_CONFIG"]));
    let expected = "\
environment variable WP_NODE_AUTH: WP_NODE_AUTH: a secret is read from the file, never from the \
environment
environment variable WP_NODE_ULR: WP_NODE_ULR: unknown key; did you mean WP_NODE_URL?";
    assert_eq!(said, expected);
    let said = complaints(reader(TEXT).flag("-x", "node.nothing", "1"));
    assert_eq!(said, "flag -x: node.nothing: unknown key");
}

#[test]
fn the_environment_takes_lists_and_names_itself_when_wrong() {
    let with = |text: &str| {
        reader(TEXT).environment("WP", [("WP_STRATUM_LISTEN".to_owned(), text.to_owned())], &[])
    };
    for right in ["127.0.0.1:1,127.0.0.1:2", "[\"127.0.0.1:1\"]"] {
        let mut reader = with(right);
        assert!(reader.section("stratum").has("listen"));
        let config = read(&mut reader);
        reader.finish(config).unwrap();
    }
    let said = complaints(with("five"));
    assert!(
        said.starts_with("environment variable WP_STRATUM_LISTEN: stratum.listen = "),
        "{said}"
    );
}

#[test]
fn text_that_is_not_toml_is_named_by_line_and_not_shown() {
    let text = "[node]\nauth = \"user:hunter2\n";
    let said = Reader::new(Source::new("pool.toml", text)).unwrap_err().to_string();
    assert!(said.starts_with("pool.toml:2: not TOML: "), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn problems_of_several_keys_and_of_our_own_defaults() {
    let mut reader = reader("[a]\nmin = 5");
    let mut section = reader.section("a");
    assert_eq!(section.or("min", "1", parse::u64_in(0..=9)), Some(5));
    assert_eq!(section.or("start", "77", parse::u64_in(0..=9)), None);
    section.problem("min", "min is above start");
    let errors = reader.finish(Some(())).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "pool.toml: a.start = 77: the built-in default is wrong; expected a whole number from 0 to \
         9\npool.toml:2: a.min = 5: min is above start"
    );
    assert_eq!(errors.problems().len(), 2);
}

#[test]
fn long_values_are_cut() {
    let said = complaints(reader(&format!("[stratum]\nlisten = \"{}\"", "é".repeat(500))));
    let line = said.lines().find(|line| line.contains("stratum.listen")).unwrap();
    assert!(line.chars().count() < 300, "{line}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_tells_a_secret(text in "\\PC{0,120}") {
        let text = format!("{text}\n[node]\nauth = \"hunter2");
        if let Ok(mut reader) = Reader::new(Source::new("x", text.clone())) {
            let config = read(&mut reader);
            prop_assert!(reader.finish(config).is_err());
        }
        let closed = format!("{text}\"\n");
        if let Ok(mut reader) = Reader::new(Source::new("x", closed)) {
            let config = read(&mut reader);
            let said = reader.finish(config).unwrap_err().to_string();
            prop_assert!(!said.contains("hunter2"), "{}", said);
        }
    }
}

#[test]
fn a_variable_that_a_flag_overrides_is_still_a_known_key() {
    let variables = [("WP_NODE_URL".to_owned(), "http://variable".to_owned())];
    let mut reader =
        reader(TEXT).environment("WP", variables, &[]).flag("--url", "node.url", "http://flag");
    let url = reader.section("node").required("url", parse::string());
    assert_eq!(url.as_deref(), Some("http://flag"));
    let said = reader.finish(None::<()>).unwrap_err().to_string();
    assert!(!said.contains("WP_NODE_URL"), "{said}");
}

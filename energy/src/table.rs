//! Reads the comma-separated tables that ship with this crate.
//!
//! Deliberately less than CSV: a field in quotes may hold commas, and neither quotes nor line ends.

/// Splits `text` into rows of exactly `N` fields, checking the header, with each row's line number.
///
/// # Errors
/// Names the line that is not so.
pub(crate) fn rows<const N: usize>(
    text: &str,
    columns: [&str; N],
) -> Result<Vec<(usize, [String; N])>, String> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let header = lines.next().map_or("", |(_, line)| line);
    if header != columns.join(",") {
        return Err(format!("line 1: the columns are {header:?}, not {:?}", columns.join(",")));
    }
    lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| row(number, line)).collect()
}

fn row<const N: usize>(number: usize, line: &str) -> Result<(usize, [String; N]), String> {
    let fields = fields(line).ok_or_else(|| format!("line {number}: a quote out of place"))?;
    let count = fields.len();
    <[String; N]>::try_from(fields)
        .map(|fields| (number, fields))
        .map_err(|_| format!("line {number}: {count} fields instead of {N}"))
}

/// The fields of a line; `None` where a quote is neither the first nor the last of its field.
fn fields(mut rest: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if field.contains('"') {
            return None;
        }
        fields.push(field.to_owned());
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_a_wrong_line_is_named() {
        let text = "a,b\n1,2\n\n3,\n\"4, or 5\",\"\"\n";
        let read = rows(text, ["a", "b"]).unwrap();
        let expected = [(2, ["1", "2"]), (4, ["3", ""]), (5, ["4, or 5", ""])];
        assert_eq!(read, expected.map(|(line, fields)| (line, fields.map(str::to_owned))));
        for (text, said) in [
            ("", "line 1: the columns are \"\""),
            ("b,a\n", "line 1"),
            ("a,b\n1\n", "line 2: 1 fields instead of 2"),
            ("a,b\n1,2,3\n", "line 2: 3 fields instead of 2"),
            ("a,b\n1,2\n\"1,2\n", "line 3: a quote"),
            ("a,b\n\"1\"x,2\n", "line 2: a quote"),
            ("a,b\nx\"1\",2\n", "line 2: a quote"),
        ] {
            let error = rows(text, ["a", "b"]).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}

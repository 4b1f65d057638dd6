//! Traces: CSV files of LLM requests, `TIMESTAMP,ContextTokens,GeneratedTokens`, as streams of rows.
//!
//! A row that cannot be read is told with its line and passed over; a file that is no trace at all is an error. Nothing
//! is kept in memory but the row at hand.

use std::fmt;
use std::io::{BufRead, Read};
use std::ops::ControlFlow;

use purser_app::replay::Row;

/// The columns that are used, as the first line names them.
const COLUMNS: [&str; 2] = ["ContextTokens", "GeneratedTokens"];
/// The longest line of a trace, in bytes; what is longer is another kind of file.
const LINE_MAX: usize = 64 << 10;
/// What is said of a file without a first line.
const EMPTY: &str = "the file is empty";
/// More tokens than any request has; what is larger is no number of tokens.
const TOKENS_MAX: u64 = 1_000_000_000;

/// What can be known of a trace before its rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// BLAKE3 of the whole file.
    pub digest: [u8; 32],
    /// Lines after the first that are not empty.
    pub rows: u64,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// Reads the file once, for its digest and its number of rows; what does not begin as a trace is refused here already.
pub fn survey(file: impl BufRead) -> std::io::Result<Survey> {
    let (mut hasher, mut rows) = (blake3::Hasher::new(), 0_u64);
    let mut lines = Lines { file, number: 0, line: Vec::new() };
    while let Some((number, line)) = lines.next()? {
        if number == 1 {
            places(line)?;
        }
        rows += u64::from(number > 1 && !line.is_empty());
        hasher.update(&lines.line);
    }
    if lines.number == 0 {
        return Err(invalid(EMPTY));
    }
    Ok(Survey { digest: *hasher.finalize().as_bytes(), rows })
}

/// Hands each row to `each`, in order, until it has had enough.
pub fn rows(
    file: impl BufRead,
    mut each: impl FnMut(Result<Row, BadRow>) -> ControlFlow<()>,
) -> std::io::Result<()> {
    // Split here and not by a reader of CSV: a row's line is part of its idempotency keys, so it has to be exact, and one
    // stray quote must not swallow the lines after it.
    let mut lines = Lines { file, number: 0, line: Vec::new() };
    let places = match lines.next()? {
        Some((_, names)) => places(names)?,
        None => return Err(invalid(EMPTY)),
    };
    while let Some((number, line)) = lines.next()? {
        if !line.is_empty() && each(row(line, places, number)).is_break() {
            break;
        }
    }
    Ok(())
}

/// Lines by their number, without their ends, in memory one at a time.
struct Lines<R> {
    file: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> std::io::Result<Option<(u64, &[u8])>> {
        self.line.clear();
        let most = LINE_MAX as u64 + 1;
        if (&mut self.file).take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.len() > LINE_MAX {
            return Err(too_long(self.number));
        }
        Ok(Some((self.number, self.line.trim_ascii_end())))
    }
}

fn places(names: &[u8]) -> std::io::Result<[usize; 2]> {
    // Some programs begin a file with this mark of its encoding.
    let names = names.strip_prefix(b"\xef\xbb\xbf").unwrap_or(names);
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let found = fields(names).position(|name| name.eq_ignore_ascii_case(column.as_bytes()));
        *place = found.ok_or_else(|| {
            let begins = "a trace begins TIMESTAMP,ContextTokens,GeneratedTokens";
            invalid(format!("the first line names no column {column}; {begins}"))
        })?;
    }
    Ok(places)
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn row(line: &[u8], places: [usize; 2], number: u64) -> Result<Row, BadRow> {
    let tokens = |column: usize| {
        let bad = |why: String| BadRow { line: number, why };
        let field =
            fields(line).nth(places[column]).ok_or_else(|| bad(format!("has no {}", COLUMNS[column])))?;
        let tokens = std::str::from_utf8(field).ok().and_then(|text| text.parse::<u64>().ok());
        tokens.filter(|tokens| *tokens <= TOKENS_MAX).ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(field).chars().take(40).collect();
            bad(format!("{} is {shown:?}, and should be a number of tokens", COLUMNS[column]))
        })
    };
    Ok(Row { line: number, input_tokens: tokens(0)?, output_tokens: tokens(1)? })
}

fn too_long(line: u64) -> std::io::Error {
    invalid(format!("line {line} is longer than {LINE_MAX} bytes: this is no trace"))
}

fn invalid(what: impl Into<String>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::io::Result<Vec<Result<Row, BadRow>>> {
        let mut all = Vec::new();
        rows(text.as_bytes(), |row| {
            all.push(row);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    #[test]
    fn bad_rows_are_told_by_line_and_the_others_are_read() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                    2023-11-16 18:17:03.97,4808,10\r\n\
                    2023-11-16 18:17:04,\"12,7\r\n\
                    \r\n\
                    2023-11-16 18:17:05,-1,7\r\n\
                    2023-11-16 18:17:06\r\n\
                    x, 3 ,1.5\r\n\
                    y, 3 ,4,and more";
        let read = read(text).unwrap();
        let told: Vec<String> = read
            .iter()
            .map(|row| row.as_ref().map_or_else(ToString::to_string, |row| format!("{row:?}")))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        Row { line: 2, input_tokens: 4808, output_tokens: 10 }
        line 3: ContextTokens is "\"12", and should be a number of tokens
        line 5: ContextTokens is "-1", and should be a number of tokens
        line 6: has no ContextTokens
        line 7: GeneratedTokens is "1.5", and should be a number of tokens
        Row { line: 8, input_tokens: 3, output_tokens: 4 }
        "#);
        assert_eq!(survey(text.as_bytes()).unwrap().rows, read.len() as u64);
    }

    #[test]
    fn a_line_has_one_number_however_lines_end() {
        let rows = read("ContextTokens,GeneratedTokens\n1,1\r\n2,2\n3,3\r\n\r\n4,4").unwrap();
        let lines: Vec<u64> = rows.into_iter().map(|row| row.unwrap().line).collect();
        assert_eq!(lines, [2, 3, 4, 6]);
    }

    #[test]
    fn columns_are_found_by_name() {
        let rows = read("GeneratedTokens,TIMESTAMP,contexttokens\n1,x,2\n").unwrap();
        assert_eq!(rows, [Ok(Row { line: 2, input_tokens: 2, output_tokens: 1 })]);
    }

    #[test]
    fn what_is_no_trace_is_an_error() {
        let no_trace = "a,b\n1,2\n";
        assert!(read(no_trace).unwrap_err().to_string().contains("no column ContextTokens"));
        assert!(survey(no_trace.as_bytes()).unwrap_err().to_string().contains("no column ContextTokens"));
        assert!(survey(&b""[..]).is_err());
        assert!(read("").is_err());
        assert_eq!(read("\u{feff}ContextTokens,GeneratedTokens\n1,2").unwrap().len(), 1);
        let endless = vec![0_u8; LINE_MAX + 1];
        assert!(survey(&endless[..]).unwrap_err().to_string().contains("line 1 is longer"));
    }

    #[test]
    fn the_excerpt_in_the_repository_is_whole() {
        let excerpt = include_str!("../../data/azure-llm-trace-code-2023-excerpt.csv");
        let read = read(excerpt).unwrap();
        assert!(read.len() == 2_000 && read.iter().all(Result::is_ok), "{} rows", read.len());
    }
}

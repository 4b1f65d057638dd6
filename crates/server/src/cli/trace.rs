//! Traces: CSV files of LLM requests, `TIMESTAMP,ContextTokens,GeneratedTokens`, as streams of rows.
//!
//! A row that cannot be read is told with its line and passed over; a file that is no trace at all is an error. Nothing
//! is kept in memory but the row at hand.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use purser_app::replay::Row;

/// The columns that are used, as the first line names them.
const COLUMNS: [&str; 2] = ["ContextTokens", "GeneratedTokens"];
/// The longest line of a trace, in bytes; what is longer is another kind of file.
const LINE_MAX: usize = 64 << 10;
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

/// Reads the file once, for its digest and its number of rows.
pub fn survey(mut file: impl Read) -> std::io::Result<Survey> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; LINE_MAX]);
    let (mut lines, mut length) = (0_u64, 0_usize);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        for byte in &buffer[..count] {
            match byte {
                b'\n' => {
                    lines += u64::from(length > 0);
                    length = 0;
                }
                b'\r' => {}
                _ => length += 1,
            }
            if length > LINE_MAX {
                let what = format!("line {} is longer than {LINE_MAX} bytes: this is no trace", lines + 1);
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
            }
        }
    }
    lines += u64::from(length > 0);
    Ok(Survey { digest: *hasher.finalize().as_bytes(), rows: lines.saturating_sub(1) })
}

/// Hands each row to `each`, in order, until it has had enough.
pub fn rows(
    file: impl Read,
    mut each: impl FnMut(Result<Row, BadRow>) -> ControlFlow<()>,
) -> std::io::Result<()> {
    // Without quotes: one stray quote would swallow the lines after it.
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .quoting(false)
        .trim(csv::Trim::All)
        .buffer_capacity(LINE_MAX)
        .from_reader(file);
    let names = reader.byte_headers()?.clone();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let found = names.iter().position(|name| name.eq_ignore_ascii_case(column.as_bytes()));
        *place = found.ok_or_else(|| {
            let what = format!(
                "the first line names no column {column}; a trace begins TIMESTAMP,{},{}",
                COLUMNS[0], COLUMNS[1]
            );
            std::io::Error::new(std::io::ErrorKind::InvalidData, what)
        })?;
    }
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if each(row(&record, places, line)).is_break() {
            break;
        }
    }
    Ok(())
}

fn row(record: &csv::ByteRecord, places: [usize; 2], line: u64) -> Result<Row, BadRow> {
    let number = |column: usize| {
        let bad = |why: String| BadRow { line, why };
        let field = record.get(places[column]).ok_or_else(|| bad(format!("has no {}", COLUMNS[column])))?;
        let number = std::str::from_utf8(field).ok().and_then(|text| text.parse::<u64>().ok());
        number.filter(|number| *number <= TOKENS_MAX).ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(field).chars().take(40).collect();
            bad(format!("{} is {shown:?}, and should be a number of tokens", COLUMNS[column]))
        })
    };
    Ok(Row { line, input_tokens: number(0)?, output_tokens: number(1)? })
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
    fn columns_are_found_by_name() {
        let rows = read("GeneratedTokens,TIMESTAMP,contexttokens\n1,x,2\n").unwrap();
        assert_eq!(rows, [Ok(Row { line: 2, input_tokens: 2, output_tokens: 1 })]);
    }

    #[test]
    fn what_is_no_trace_is_an_error() {
        assert!(read("a,b\n1,2\n").unwrap_err().to_string().contains("no column ContextTokens"));
        assert!(read("").is_err());
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

//! Statements for MariaDB and MySQL as one text, with every value in it as a literal that needs no escaping: a number in
//! decimal, anything else in hexadecimal. Nothing that a value holds can so become part of a statement, and there is no limit
//! to how many there are.
//!
//! The server carries the statements out in order and stops at the first that fails; their answers come back together. A text
//! that would grow too long for the server goes on in a further one, which is a further round trip.
//!
//! In a cluster every statement is a text of its own. When another node's commit is in the way, the node undoes what is under
//! way there; between two statements of one text that goes unsaid, and those that follow would be committed one by one.

use crate::driver::mysql::MysqlLink;
use crate::error::StoreError;
use mysql_async::Row;

/// Texts are kept below this, and below half of what the server takes.
const TEXT_MAX: usize = 8 << 20;

/// Where the rows of a statement go, in the middle of its text: as `(1, 2), (3, 4)`.
const ROWS: &str = "{rows}";
/// Where they go as a table that is joined.
const TABLE: &str = "{table}";

/// Statements, and by what their answers are told apart.
pub(super) struct Script<'l, Tag> {
    link: &'l MysqlLink,
    text_max: usize,
    /// Each statement is a text of its own, sent when the one before has been answered. A cluster may undo a transaction
    /// at any moment, for a commit of another node that comes first; in the midst of a text, the server does that and
    /// carries out what is left of it without a transaction, each statement for itself.
    one_by_one: bool,
    texts: Vec<Text<Tag>>,
}

struct Text<Tag> {
    sql: Vec<u8>,
    tags: Vec<Tag>,
}

/// A script that was not carried out to its end.
pub(super) struct Stopped<Tag> {
    /// The statement that failed; none where the server did not say so.
    pub(super) at: Option<Tag>,
    /// Whether the text that it is in is the last one.
    pub(super) in_last_text: bool,
    pub(super) error: StoreError,
}

impl<'l, Tag: Copy> Script<'l, Tag> {
    pub(super) fn new(link: &'l MysqlLink) -> Script<'l, Tag> {
        let text_max = TEXT_MAX.min(link.packet_max() / 2);
        Script { link, text_max, one_by_one: link.is_in_cluster(), texts: Vec::new() }
    }

    /// Adds a statement as it is.
    pub(super) fn say(&mut self, tag: Tag, sql: &str) {
        let text = self.text();
        text.sql.extend_from_slice(sql.as_bytes());
        text.end(tag);
    }

    /// Adds a statement for these rows, in the place of `{rows}` or `{table}`: more than one of them where the rows are too
    /// many for one text. Nothing without rows.
    pub(super) fn rows<T>(
        &mut self,
        tag: Tag,
        sql: &str,
        rows: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Line<'_>, T),
    ) {
        self.rows_and(tag, sql, rows, write, |_, _| {});
    }

    /// The same with something to be said behind each of the statements, which is told for how many rows it was.
    pub(super) fn rows_and<T>(
        &mut self,
        tag: Tag,
        sql: &str,
        rows: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Line<'_>, T),
        mut behind: impl FnMut(&mut Script<'l, Tag>, usize),
    ) {
        let (head, (before, tail)) = match sql.split_once(TABLE) {
            // A table of values is one of rows in MySQL.
            Some((head, tail)) => {
                ((head, "VALUES "), (if self.link.is_mariadb() { "(" } else { "ROW(" }, tail))
            }
            None => {
                let (head, tail) = sql.split_once(ROWS).expect("a statement says where its rows go");
                ((head, ""), ("(", tail))
            }
        };
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let text_max = self.text_max;
            let text = self.text();
            text.sql.extend_from_slice(head.0.as_bytes());
            text.sql.extend_from_slice(head.1.as_bytes());
            let mut count = 0;
            for row in rows.by_ref() {
                text.sql.extend_from_slice(if count == 0 { b"" } else { b"," });
                text.sql.extend_from_slice(before.as_bytes());
                write(&mut Line { sql: &mut text.sql, is_first: true }, row);
                text.sql.push(b')');
                count += 1;
                if text.sql.len() > text_max {
                    break;
                }
            }
            text.sql.extend_from_slice(tail.as_bytes());
            text.end(tag);
            behind(self, count);
        }
    }

    /// The text that the next statement goes to.
    fn text(&mut self) -> &mut Text<Tag> {
        if self.texts.last().is_none_or(|text| self.one_by_one || text.sql.len() > self.text_max) {
            self.texts.push(Text { sql: Vec::with_capacity(4_096), tags: Vec::new() });
        }
        self.texts.last_mut().expect("one was just added")
    }

    /// Sends everything; the answers in the order of the statements.
    pub(super) fn run(self) -> Result<Vec<(Tag, Vec<Row>)>, Stopped<Tag>> {
        let mut answers = Vec::new();
        let count = self.texts.len();
        for (index, Text { sql, tags }) in self.texts.into_iter().enumerate() {
            let rows = self.link.several(&sql, tags.len()).map_err(|stopped| Stopped {
                at: stopped.done.and_then(|done| tags.get(done).copied()),
                in_last_text: index + 1 == count,
                error: stopped.error,
            })?;
            answers.extend(tags.into_iter().zip(rows));
        }
        Ok(answers)
    }
}

impl<Tag> Text<Tag> {
    fn end(&mut self, tag: Tag) {
        self.sql.extend_from_slice(b";\n");
        self.tags.push(tag);
    }
}

/// The values of one row.
pub(super) struct Line<'t> {
    sql: &'t mut Vec<u8>,
    is_first: bool,
}

impl Line<'_> {
    fn next(&mut self) {
        if !self.is_first {
            self.sql.push(b',');
        }
        self.is_first = false;
    }

    fn null(&mut self) -> &mut Self {
        self.next();
        self.sql.extend_from_slice(b"NULL");
        self
    }

    pub(super) fn int(&mut self, value: i64) -> &mut Self {
        self.next();
        write_int(self.sql, value);
        self
    }

    pub(super) fn int_option(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.next();
        write_bytes(self.sql, value);
        self
    }

    pub(super) fn bytes_option(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }

    /// Text for a column of text; where a column holds bytes, text goes there as bytes.
    pub(super) fn text_option(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => {
                self.next();
                self.sql.extend_from_slice(b"_utf8mb4 ");
                write_bytes(self.sql, value.as_bytes());
                self
            }
            None => self.null(),
        }
    }
}

fn write_int(sql: &mut Vec<u8>, value: i64) {
    if value == i64::MIN {
        // Its digits alone are no number of 64 bits, and MySQL looks at those first.
        sql.extend_from_slice(b"(-9223372036854775807-1)");
        return;
    }
    if value < 0 {
        sql.push(b'-');
    }
    let (mut digits, mut first) = ([0_u8; 20], 20);
    let mut rest = value.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    sql.extend_from_slice(&digits[first..]);
}

fn write_bytes(sql: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    sql.reserve(bytes.len() * 2 + 3);
    sql.extend_from_slice(b"x'");
    for byte in bytes {
        sql.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    sql.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut sql = Vec::new();
        write(&mut Line { sql: &mut sql, is_first: true });
        String::from_utf8(sql).expect("literals are text")
    }

    #[test]
    fn values_are_literals() {
        let line = written(|line| {
            line.int(0).int(-7).int(i64::MAX).int_option(None).bytes(&[]).bytes(&[0, 0xff]);
            line.bytes_option(None).text_option(Some("ä'\\\0")).text_option(None);
        });
        assert_eq!(line, "0,-7,9223372036854775807,NULL,x'',x'00ff',NULL,_utf8mb4 x'c3a4275c00',NULL");
        assert_eq!(written(|line| _ = line.int(i64::MIN)), "(-9223372036854775807-1)");
    }

    proptest! {
        #[test]
        fn an_integer_is_written_in_decimal(value: i64) {
            prop_assume!(value != i64::MIN);
            prop_assert_eq!(written(|line| _ = line.int(value)), value.to_string());
        }

        #[test]
        fn no_text_leaves_its_literal(value: String) {
            let line = written(|line| _ = line.text_option(Some(&value)));
            let inside = line.strip_prefix("_utf8mb4 x'").and_then(|rest| rest.strip_suffix('\''));
            let digits = inside.expect("a literal");
            prop_assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            prop_assert_eq!(digits.len(), value.len() * 2);
        }
    }
}

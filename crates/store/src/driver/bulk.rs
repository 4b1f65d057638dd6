//! Many rows into one table, in each database's quickest way that needs no right of its own.
//!
//! A row is written again as it was read: [`Cell`]s are values that outlive the answer they came in. SQLite takes rows one by
//! one, PostgreSQL a column at a time as arrays, MySQL many rows in one text. Read `transport/` for who moves what.

use super::mysql::MysqlLink;
use super::postgres::PostgresLink;
use super::{Columns, Session, Value};
use crate::error::StoreError;
use tokio_postgres::types::{ToSql, Type};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Int,
    Bytes,
    Text,
}

/// A table and its columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
}

/// A value that was read, to be written elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Null,
}

/// A row, in the order of its shape's columns.
pub(crate) type Row = Vec<Cell>;

/// Values of one statement on MySQL; it takes no more than 65,535.
const MYSQL_VALUES_MAX: usize = 16_000;

impl Cell {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Cell::Int(number) => Value::Int(*number),
            Cell::Bytes(bytes) => Value::Bytes(bytes),
            Cell::Text(text) => Value::Text(text),
            Cell::Null => Value::Null,
        }
    }

    /// The number in a column that always has one.
    pub(crate) fn int(&self) -> Result<i64, StoreError> {
        match self {
            Cell::Int(number) => Ok(*number),
            Cell::Bytes(_) | Cell::Text(_) | Cell::Null => Err(misplaced("a number")),
        }
    }

    /// The bytes in a column that always has some.
    pub(crate) fn bytes(&self) -> Result<&[u8], StoreError> {
        match self {
            Cell::Bytes(bytes) => Ok(bytes),
            Cell::Int(_) | Cell::Text(_) | Cell::Null => Err(misplaced("bytes")),
        }
    }
}

impl Cell {
    /// About how many bytes it takes on the way.
    fn length(&self) -> usize {
        16 + match self {
            Cell::Int(_) | Cell::Null => 0,
            Cell::Bytes(bytes) => bytes.len(),
            Cell::Text(text) => text.len(),
        }
    }
}

fn misplaced(expected: &str) -> StoreError {
    StoreError::Corrupt { what: format!("a column that holds {expected} holds something else") }
}

impl Shape {
    /// The columns as a statement names them.
    pub(crate) fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// A row with these columns, in their order.
    pub(crate) fn read(&self, row: &dyn Columns) -> Result<Row, StoreError> {
        let cell = |(place, (_, kind)): (usize, &(&str, Kind))| {
            Ok(match kind {
                Kind::Int => row.int(place)?.map(Cell::Int),
                Kind::Bytes => row.bytes(place)?.map(|bytes| Cell::Bytes(bytes.to_vec())),
                Kind::Text => row.text(place)?.map(|text| Cell::Text(text.to_owned())),
            }
            .unwrap_or(Cell::Null))
        };
        self.columns.iter().enumerate().map(cell).collect()
    }
}

impl Session<'_> {
    /// Inserts rows of one shape, within the transaction under way.
    pub(crate) fn insert_rows(self, shape: &Shape, rows: &[Row]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Session::Sqlite(connection) => one_by_one(connection, shape, rows),
            Session::Postgres(link) => as_arrays(link, shape, rows),
            Session::Mysql(link) => in_one_text(link, shape, rows),
        }
    }
}

fn one_by_one(connection: &rusqlite::Connection, shape: &Shape, rows: &[Row]) -> Result<(), StoreError> {
    let places = vec!["?"; shape.columns.len()].join(", ");
    let text = format!("INSERT INTO {} ({}) VALUES ({places})", shape.table, shape.names());
    let mut insert = connection.prepare_cached(&text)?;
    for row in rows {
        insert.execute(rusqlite::params_from_iter(row.iter().map(Cell::value)))?;
    }
    Ok(())
}

/// A column of many rows.
enum Array<'r> {
    Ints(Vec<Option<i64>>),
    Bytes(Vec<Option<&'r [u8]>>),
    Texts(Vec<Option<&'r str>>),
}

impl<'r> Array<'r> {
    fn of(rows: &'r [Row], place: usize, kind: Kind) -> Result<Array<'r>, StoreError> {
        fn each<'r, T>(
            rows: &'r [Row],
            place: usize,
            take: impl Fn(&'r Cell) -> Option<T>,
        ) -> Result<Vec<Option<T>>, StoreError> {
            let one = |row: &'r Row| match &row[place] {
                Cell::Null => Ok(None),
                cell => take(cell).map(Some).ok_or_else(|| misplaced("another kind")),
            };
            rows.iter().map(one).collect()
        }
        Ok(match kind {
            Kind::Int => Array::Ints(each(rows, place, |cell| cell.int().ok())?),
            Kind::Bytes => Array::Bytes(each(rows, place, |cell| cell.bytes().ok())?),
            Kind::Text => Array::Texts(each(rows, place, |cell| match cell {
                Cell::Text(text) => Some(text.as_str()),
                Cell::Int(_) | Cell::Bytes(_) | Cell::Null => None,
            })?),
        })
    }

    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Array::Ints(values) => (values, Type::INT8_ARRAY),
            Array::Bytes(values) => (values, Type::BYTEA_ARRAY),
            Array::Texts(values) => (values, Type::TEXT_ARRAY),
        }
    }
}

fn as_arrays(link: &PostgresLink, shape: &Shape, rows: &[Row]) -> Result<(), StoreError> {
    let columns = shape.columns.iter().enumerate();
    let arrays = columns.map(|(place, (_, kind))| Array::of(rows, place, *kind));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let places: Vec<String> = (1..=arrays.len()).map(|place| format!("unnest(${place})")).collect();
    let text = format!("INSERT INTO {} ({}) SELECT {}", shape.table, shape.names(), places.join(", "));
    let values: Vec<(&(dyn ToSql + Sync), Type)> = arrays.iter().map(Array::typed).collect();
    link.drive(link.client().execute_typed(&text, &values)).map(|_| ())
}

fn in_one_text(link: &MysqlLink, shape: &Shape, mut rows: &[Row]) -> Result<(), StoreError> {
    let places = format!("({})", vec!["?"; shape.columns.len()].join(", "));
    while !rows.is_empty() {
        // Powers of two, so that few texts are prepared whatever comes.
        let (some, rest) = rows.split_at(1 << taken_at_once(shape, rows, link.packet_max() / 2).ilog2());
        let text = format!(
            "INSERT INTO {} ({}) VALUES {}",
            shape.table,
            shape.names(),
            vec![places.as_str(); some.len()].join(", ")
        );
        link.insert(&text, some.iter().flatten().map(|cell| (&cell.value()).into()).collect())?;
        rows = rest;
    }
    Ok(())
}

/// How many of the rows, one at the least, MySQL takes in one statement of so many bytes.
fn taken_at_once(shape: &Shape, rows: &[Row], bytes_max: usize) -> usize {
    let most = MYSQL_VALUES_MAX / shape.columns.len();
    let mut bytes = 0;
    let fits = |row: &&Row| {
        bytes += row.iter().map(Cell::length).sum::<usize>();
        bytes <= bytes_max
    };
    rows.iter().take(most).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parted_before_they_are_too_many_or_too_long_for_one_statement() {
        const TWO: Shape = Shape { table: "t", columns: &[("a", Kind::Int), ("b", Kind::Bytes)] };
        let rows =
            |count: usize, length: usize| vec![vec![Cell::Int(1), Cell::Bytes(vec![0; length])]; count];
        assert_eq!(taken_at_once(&TWO, &rows(3, 10), 1_000), 3);
        assert_eq!(taken_at_once(&TWO, &rows(9_000, 10), 1_000_000), MYSQL_VALUES_MAX / 2);
        assert_eq!(taken_at_once(&TWO, &rows(30, 100), 1_000), 7);
        assert_eq!(
            taken_at_once(&TWO, &rows(3, 5_000), 1_000),
            1,
            "one that is too long alone is told by MySQL"
        );
    }
}

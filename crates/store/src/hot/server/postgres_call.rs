//! A statement for PostgreSQL with its columns of values, and sending several at once.

use crate::driver::postgres::PostgresLink;
use crate::error::StoreError;
use bytes::BytesMut;
use futures_util::future::join_all;
use purser_core::WalletKey;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, Row, Statement};

/// A statement and its values: most are arrays, one element for each row.
pub(super) struct Call<'a> {
    sql: &'static str,
    values: Vec<Column<'a>>,
}

enum Column<'a> {
    Int(i64),
    Ints(Vec<i64>),
    IntOptions(Vec<Option<i64>>),
    Bytes(Vec<&'a [u8]>),
    ByteOptions(Vec<Option<&'a [u8]>>),
    Fixed(Vec<Fixed>),
    FixedOptions(Vec<Option<Fixed>>),
    Texts(Vec<&'a str>),
    TextOptions(Vec<Option<&'a str>>),
}

/// An id, by value.
#[derive(Debug)]
struct Fixed([u8; 16]);

impl ToSql for Fixed {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.as_slice().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BYTEA
    }

    to_sql_checked!();
}

impl<'a> Call<'a> {
    pub(super) fn new(sql: &'static str) -> Call<'a> {
        Call { sql, values: Vec::with_capacity(20) }
    }

    fn with(mut self, column: Column<'a>) -> Call<'a> {
        self.values.push(column);
        self
    }

    pub(super) fn int(self, value: i64) -> Call<'a> {
        self.with(Column::Int(value))
    }

    pub(super) fn ints(self, values: impl Iterator<Item = i64>) -> Call<'a> {
        self.with(Column::Ints(values.collect()))
    }

    pub(super) fn int_options(self, values: impl Iterator<Item = Option<i64>>) -> Call<'a> {
        self.with(Column::IntOptions(values.collect()))
    }

    pub(super) fn bytes<B: AsRef<[u8]> + ?Sized + 'a>(self, values: impl Iterator<Item = &'a B>) -> Call<'a> {
        self.with(Column::Bytes(values.map(AsRef::as_ref).collect()))
    }

    pub(super) fn byte_options(self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Call<'a> {
        self.with(Column::ByteOptions(values.collect()))
    }

    pub(super) fn fixed(self, values: impl Iterator<Item = [u8; 16]>) -> Call<'a> {
        self.with(Column::Fixed(values.map(Fixed).collect()))
    }

    pub(super) fn fixed_options(self, values: impl Iterator<Item = Option<[u8; 16]>>) -> Call<'a> {
        self.with(Column::FixedOptions(values.map(|value| value.map(Fixed)).collect()))
    }

    pub(super) fn texts(self, values: impl Iterator<Item = &'a str>) -> Call<'a> {
        self.with(Column::Texts(values.collect()))
    }

    pub(super) fn text_options(self, values: impl Iterator<Item = Option<&'a str>>) -> Call<'a> {
        self.with(Column::TextOptions(values.collect()))
    }

    /// Two columns: tenants and ids of wallets.
    pub(super) fn wallets(self, keys: &[WalletKey]) -> Call<'a> {
        self.ints(keys.iter().map(|key| key.tenant.0 as i64))
            .fixed(keys.iter().map(|key| key.id.0.to_bytes()))
    }
}

impl Column<'_> {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Column::Int(value) => (value, Type::INT8),
            Column::Ints(values) => (values, Type::INT8_ARRAY),
            Column::IntOptions(values) => (values, Type::INT8_ARRAY),
            Column::Bytes(values) => (values, Type::BYTEA_ARRAY),
            Column::ByteOptions(values) => (values, Type::BYTEA_ARRAY),
            Column::Fixed(values) => (values, Type::BYTEA_ARRAY),
            Column::FixedOptions(values) => (values, Type::BYTEA_ARRAY),
            Column::Texts(values) => (values, Type::TEXT_ARRAY),
            Column::TextOptions(values) => (values, Type::TEXT_ARRAY),
        }
    }
}

/// Sends words that come first, statements, and words that come last, all before the first of them is answered. Answers the
/// outcome of each statement and, behind them, of the last words.
///
/// # Errors
/// The first words failed, or nothing was answered in time; then nobody knows what was done.
pub(super) fn send(
    link: &PostgresLink,
    first: Option<&str>,
    calls: &[Call<'_>],
    last: Option<&str>,
) -> Result<Vec<Result<Vec<Row>, Error>>, StoreError> {
    let mut statements: Vec<Option<Statement>> = Vec::with_capacity(calls.len());
    for call in calls {
        let types: Vec<Type> = call.values.iter().map(|value| value.typed().1).collect();
        statements.push(link.prepared(call.sql, &types)?);
    }
    let client = link.client();
    let one = async |call: &Call<'_>, statement: &Option<Statement>| match statement {
        Some(statement) => {
            let values: Vec<&(dyn ToSql + Sync)> = call.values.iter().map(|value| value.typed().0).collect();
            client.query(statement, &values).await
        }
        None => {
            let values: Vec<(&(dyn ToSql + Sync), Type)> = call.values.iter().map(Column::typed).collect();
            client.query_typed(call.sql, &values).await
        }
    };
    link.drive(async {
        let begun = async {
            match first {
                Some(words) => client.batch_execute(words).await,
                None => Ok(()),
            }
        };
        let asked = join_all(calls.iter().zip(&statements).map(|(call, statement)| one(call, statement)));
        let ended = async {
            match last {
                Some(words) => client.batch_execute(words).await.map(|()| Vec::new()),
                None => Ok(Vec::new()),
            }
        };
        // Each is polled, and so sent, in this order.
        let (begun, mut outcomes, ended) = futures_util::future::join3(begun, asked, ended).await;
        begun?;
        outcomes.push(ended);
        Ok(outcomes)
    })
}

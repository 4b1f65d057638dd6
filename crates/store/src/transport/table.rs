//! What is copied, table by table. Everything else is made again at the other end: see `mod.rs`.
//!
//! A test compares this list with the schema, so that a new column or table is not left behind.

use crate::dialect::Dialect;
use crate::driver::Session;
use crate::driver::bulk::Kind::{Bytes, Int, Text};
use crate::driver::bulk::{Cell, Kind, Row, Shape};
use crate::error::StoreError;

/// A table that is copied in the order of its primary key, which is its first columns.
pub(super) struct Table {
    pub(super) shape: Shape,
    keys: usize,
}

const fn table(table: &'static str, keys: usize, columns: &'static [(&'static str, Kind)]) -> Table {
    Table { shape: Shape { table, columns }, keys }
}

/// What is configured, and who there is.
pub(super) const COLD: [Table; 21] = [
    table("quote_use", 2, &[("tenant_no", Int), ("quote_id", Bytes), ("expires_at", Int)]),
    table("usage_event", 2, &[("event", Bytes), ("tenant_no", Int), ("debit", Bytes)]),
    table(
        "refusal_count",
        4,
        &[("tenant_no", Int), ("quarter", Int), ("action_no", Int), ("code", Text), ("refused", Int)],
    ),
    table(
        "tenant",
        1,
        &[
            ("tenant_no", Int),
            ("kind", Int),
            ("tenant_key", Text),
            ("standing", Int),
            ("zone", Text),
            ("funding_order", Int),
            ("created_at", Int),
        ],
    ),
    table(
        "users",
        2,
        &[
            ("tenant_no", Int),
            ("user_no", Int),
            ("user_key", Text),
            ("email", Text),
            ("name", Text),
            ("created_at", Int),
        ],
    ),
    table(
        "limit_rule",
        1,
        &[
            ("limit_id", Bytes),
            ("tenant_no", Int),
            ("whose", Int),
            ("user_no", Int),
            ("action_no", Int),
            ("unit_code", Text),
            ("amount", Int),
            ("period", Int),
            ("created_at", Int),
        ],
    ),
    table("limit_alert", 1, &[("limit_id", Bytes), ("alert_at", Text), ("enforced", Int)]),
    table(
        "user_preference",
        2,
        &[("tenant_no", Int), ("user_no", Int), ("confirm_above", Text), ("changed_at", Int)],
    ),
    table("unit", 1, &[("unit_code", Text), ("scale", Int), ("name", Text), ("created_at", Int)]),
    table(
        "action",
        1,
        &[
            ("action_no", Int),
            ("action_key", Text),
            ("name", Text),
            ("unit_label", Text),
            ("description", Text),
            ("category", Text),
            ("active", Int),
            ("overage", Int),
            ("overage_percent", Int),
            ("created_at", Int),
        ],
    ),
    table("action_confirm", 1, &[("action_no", Int), ("confirm_above", Text)]),
    table("action_unit", 2, &[("action_no", Int), ("ordinal", Int), ("unit_code", Text)]),
    table(
        "price",
        1,
        &[
            ("price_id", Bytes),
            ("action_no", Int),
            ("unit_code", Text),
            ("valid_from", Int),
            ("model", Bytes),
            ("created_at", Int),
        ],
    ),
    table(
        "tenant_price",
        1,
        &[
            ("price_id", Bytes),
            ("tenant_no", Int),
            ("action_no", Int),
            ("unit_code", Text),
            ("valid_from", Int),
            ("valid_until", Int),
            ("model", Bytes),
            ("created_at", Int),
        ],
    ),
    table(
        "tenant_discount",
        1,
        &[
            ("discount_id", Bytes),
            ("tenant_no", Int),
            ("action_no", Int),
            ("basis_points", Int),
            ("valid_from", Int),
            ("valid_until", Int),
            ("created_at", Int),
        ],
    ),
    table(
        "api_key",
        1,
        &[
            ("key_no", Int),
            ("hash", Bytes),
            ("name", Text),
            ("scope", Text),
            ("tenant_no", Int),
            ("created_at", Int),
            ("revoked_at", Int),
        ],
    ),
    table(
        "gate_rule",
        1,
        &[
            ("rule_key", Text),
            ("host", Text),
            ("path", Text),
            ("methods", Text),
            ("priority", Int),
            ("active", Int),
            ("effect", Int),
            ("action_key", Text),
            ("quantity", Int),
            ("tenant_key", Text),
            ("tenant_header", Text),
            ("user_header", Text),
            ("user_is", Int),
            ("fail_open", Int),
            ("created_at", Int),
            ("changed_at", Int),
        ],
    ),
    table(
        "audit",
        1,
        &[
            ("position", Int),
            ("actor_kind", Int),
            ("actor_no", Int),
            ("what", Text),
            ("subject", Text),
            ("before_json", Text),
            ("after_json", Text),
            ("reason", Text),
            ("at", Int),
        ],
    ),
    table(
        "pool",
        2,
        &[("tenant_no", Int), ("pool_no", Int), ("pool_key", Text), ("name", Text), ("created_at", Int)],
    ),
    table(
        "pool_member",
        3,
        &[
            ("tenant_no", Int),
            ("pool_no", Int),
            ("user_no", Int),
            ("limit_amount", Int),
            ("limit_period", Int),
            ("created_at", Int),
        ],
    ),
    table(
        "counter",
        4,
        &[("tenant_no", Int), ("subject", Bytes), ("rule", Bytes), ("period_start", Int), ("used", Int)],
    ),
];

/// What is derived from entries and saved. Wallets come first.
pub(super) const STATE: [Table; 5] = [
    table(
        "wallet",
        2,
        &[
            ("tenant_no", Int),
            ("wallet_id", Bytes),
            ("owner_kind", Int),
            ("owner_no", Int),
            ("unit_code", Text),
            ("scale", Int),
            ("seq", Int),
            ("head", Bytes),
            ("head_position", Int),
            ("recorded_at", Int),
            ("settled", Int),
            ("held", Int),
            ("frozen", Int),
            ("debt", Int),
            ("last_topup", Int),
            ("created_at", Int),
        ],
    ),
    table(
        "lot",
        2,
        &[
            ("tenant_no", Int),
            ("lot_id", Bytes),
            ("wallet_id", Bytes),
            ("is_open", Int),
            ("kind", Int),
            ("priority", Int),
            ("effective_at", Int),
            ("expires_at", Int),
            ("granted", Int),
            ("remaining", Int),
            ("held", Int),
            ("frozen", Int),
            ("paid_minor", Int),
            ("paid_currency", Text),
            ("money", Int),
            ("expired", Int),
            ("expired_money", Int),
            ("origin", Bytes),
            ("parent", Bytes),
        ],
    ),
    table(
        "hold",
        3,
        &[
            ("tenant_no", Int),
            ("wallet_id", Bytes),
            ("hold_id", Bytes),
            ("state", Int),
            ("terms", Bytes),
            ("pins", Bytes),
            ("held", Int),
            ("captured", Int),
            ("user_no", Int),
            ("placed_at", Int),
            ("expires_at", Int),
        ],
    ),
    table(
        "debt",
        3,
        &[
            ("tenant_no", Int),
            ("wallet_id", Bytes),
            ("seq", Int),
            ("cause", Int),
            ("subject", Bytes),
            ("origin", Bytes),
            ("amount", Int),
        ],
    ),
    table(
        "open_freeze",
        3,
        &[
            ("tenant_no", Int),
            ("wallet_id", Bytes),
            ("ordinal", Int),
            ("cause", Bytes),
            ("lot_id", Bytes),
            ("wanted", Int),
            ("taken", Int),
        ],
    ),
];

/// What stands at positions, which are the first column.
pub(super) const ENTRY: Shape = Shape {
    table: "entry",
    columns: &[
        ("position", Int),
        ("prev_position", Int),
        ("tenant_no", Int),
        ("wallet_id", Bytes),
        ("seq", Int),
        ("kind", Int),
        ("subject", Bytes),
        ("amount", Int),
        ("held_delta", Int),
        ("settled_after", Int),
        ("user_no", Int),
        ("actor_kind", Int),
        ("actor_no", Int),
        ("occurred_at", Int),
        ("recorded_at", Int),
        ("allocations", Bytes),
        ("terms", Bytes),
        ("text_digest", Bytes),
        ("hash", Bytes),
    ],
};
pub(super) const TEXT: Shape = Shape {
    table: "entry_text",
    columns: &[
        ("position", Int),
        ("tenant_no", Int),
        ("salt", Bytes),
        ("reference", Text),
        ("metadata", Text),
        ("reason", Text),
    ],
};
pub(super) const OUTBOX: Shape = Shape {
    table: "outbox",
    columns: &[
        ("position", Int),
        ("tenant_no", Int),
        ("wallet_id", Bytes),
        ("event", Int),
        ("first_seq", Int),
        ("entries", Int),
    ],
};
pub(super) const ANSWER: Shape = Shape {
    table: "answer",
    columns: &[
        ("position", Int),
        ("tenant_no", Int),
        ("key_digest", Bytes),
        ("request_digest", Bytes),
        ("receipt", Bytes),
        ("created_at", Int),
    ],
};
/// The indices behind the funnel, made again from entries and texts.
pub(super) const HISTORY: Shape = Shape {
    table: "wallet_history",
    columns: &[("tenant_no", Int), ("wallet_id", Bytes), ("seq", Int), ("position", Int)],
};
pub(super) const REFERENCE: Shape = Shape {
    table: "entry_reference",
    columns: &[
        ("tenant_no", Int),
        ("reference", Text),
        ("wallet_id", Bytes),
        ("seq", Int),
        ("position", Int),
    ],
};

/// Places of columns that are looked into or changed on the way.
pub(super) mod column {
    pub(crate) const POSITION: usize = 0;
    pub(crate) const ENTRY_PREVIOUS: usize = 1;
    pub(crate) const ENTRY_TENANT: usize = 2;
    pub(crate) const ENTRY_WALLET: usize = 3;
    pub(crate) const ENTRY_SEQ: usize = 4;
    pub(crate) const ENTRY_RECORDED_AT: usize = 14;
    pub(crate) const TEXT_REFERENCE: usize = 3;
    pub(crate) const ANSWER_KEY: usize = 2;
    pub(crate) const ANSWER_CREATED_AT: usize = 5;
    pub(crate) const WALLET_TENANT: usize = 0;
    pub(crate) const WALLET_ID: usize = 1;
    pub(crate) const WALLET_SEQ: usize = 6;
    pub(crate) const WALLET_HEAD_POSITION: usize = 8;
}

/// Pages of a table in the order of its key.
pub(super) struct Pages {
    table: &'static Table,
    first: &'static str,
    next: &'static str,
    newest: &'static str,
}

impl Pages {
    /// So many rows a page. The texts are made for a copy, of which a process makes one, and stay.
    pub(super) fn of(table: &'static Table, rows: usize, dialect: Dialect) -> Pages {
        let (name, columns) = (table.shape.table, table.shape.names());
        let keys: Vec<&str> = table.shape.columns[..table.keys].iter().map(|(key, _)| *key).collect();
        let behind = dialect.keys_behind(&keys);
        let order = keys.join(", ");
        let backwards = format!("{} DESC", keys.join(" DESC, "));
        let leak = |text: String| -> &'static str { text.leak() };
        Pages {
            table,
            first: leak(format!("SELECT {columns} FROM {name} ORDER BY {order} LIMIT {rows}")),
            next: leak(format!("SELECT {columns} FROM {name} WHERE {behind} ORDER BY {order} LIMIT {rows}")),
            newest: leak(format!("SELECT {columns} FROM {name} ORDER BY {backwards} LIMIT 1")),
        }
    }

    /// The rows behind `last`; the first ones where there is none.
    pub(super) fn read(&self, session: Session<'_>, last: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        let shape = &self.table.shape;
        match last {
            None => session.all(self.first, &[], |row| shape.read(row)),
            Some(last) => {
                let key: Vec<_> = last[..self.table.keys].iter().map(Cell::value).collect();
                session.all(self.next, &key, |row| shape.read(row))
            }
        }
    }

    /// The row with the last key.
    pub(super) fn newest(&self, session: Session<'_>) -> Result<Option<Row>, StoreError> {
        session.first(self.newest, &[], |row| self.table.shape.read(row))
    }
}

-- 0001 ledger
-- The first schema: identity, catalogue, the ledger and what is derived from it.
--
-- Type tokens in braces are rendered per database: int is 64 bits signed (tenant and user numbers are their bit pattern), id 16
-- bytes, digest 32 bytes, key a product's key, then reference, answer_key, text and blob. "rows" ends a table kept in order of
-- its integer key, "keyed" one kept in order of its primary key. "position" is the key of what is appended; where data may be
-- distributed by tenant, "primary" makes the tenant part of it. Times are microseconds since 1970, UTC. Sort keys are never null.

-- Small facts about the database itself.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A writer leases a slot; the epoch tells a writer that lost it. Slot 0 numbers cold transactions. The embedded database
-- has one writer, whose lock is the file's: its slot is leased for ever.
CREATE TABLE slot (
    slot         INTEGER NOT NULL PRIMARY KEY,
    epoch        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    closed_until INTEGER NOT NULL,
    leased_until INTEGER NOT NULL
) STRICT;

CREATE TABLE config_epoch (
    one   INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT;

-- How far what is derived behind the funnel has come in each slot.
CREATE TABLE fold (
    name     TEXT NOT NULL,
    slot     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (name, slot)
) STRICT, WITHOUT ROWID;

-- kind 1: an organisation, named by its own key. kind 2: the personal tenant of one user, found by that user's key,
-- which is never shown as a tenant's name. The key is null once it was erased.
CREATE TABLE tenant (
    tenant_no     INTEGER NOT NULL PRIMARY KEY,
    kind          INTEGER NOT NULL,
    tenant_key    TEXT,
    standing      INTEGER NOT NULL,
    zone          TEXT NOT NULL,
    funding_order INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tenant_by_key ON tenant (kind, tenant_key);
-- Few tenants are not active, and each reload of the configuration asks for them.
CREATE INDEX tenant_restricted ON tenant (standing) WHERE standing <> 1;

CREATE TABLE users (
    tenant_no  INTEGER NOT NULL,
    user_no    INTEGER NOT NULL,
    user_key   TEXT,
    email      TEXT,
    name       TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_by_key ON users (tenant_no, user_key);

CREATE TABLE unit (
    unit_code  TEXT NOT NULL PRIMARY KEY,
    scale      INTEGER NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE action (
    action_no       INTEGER NOT NULL PRIMARY KEY,
    action_key      TEXT NOT NULL,
    name            TEXT NOT NULL,
    unit_label      TEXT,
    description     TEXT,
    category        TEXT,
    active          INTEGER NOT NULL,
    overage         INTEGER NOT NULL,
    overage_percent INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX action_by_key ON action (action_key);

-- The units an action is paid in, in the order they are tried.
CREATE TABLE action_unit (
    action_no INTEGER NOT NULL,
    ordinal   INTEGER NOT NULL,
    unit_code TEXT NOT NULL,
    PRIMARY KEY (action_no, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE price (
    price_id   BLOB NOT NULL PRIMARY KEY,
    action_no  INTEGER NOT NULL,
    unit_code  TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    model      BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    key_no     INTEGER NOT NULL PRIMARY KEY,
    hash       BLOB NOT NULL,
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    tenant_no  INTEGER,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX api_key_by_hash ON api_key (hash);

-- Administrative changes, in the positions of slot 0. Append-only.
CREATE TABLE audit (
    position    INTEGER NOT NULL PRIMARY KEY,
    actor_kind  INTEGER NOT NULL,
    actor_no    INTEGER NOT NULL,
    what        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    before_json TEXT,
    after_json  TEXT,
    reason      TEXT,
    at          INTEGER NOT NULL
) STRICT;

CREATE TABLE pool (
    tenant_no  INTEGER NOT NULL,
    pool_no    INTEGER NOT NULL,
    pool_key   TEXT NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, pool_no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pool_by_key ON pool (tenant_no, pool_key);

CREATE TABLE pool_member (
    tenant_no    INTEGER NOT NULL,
    pool_no      INTEGER NOT NULL,
    user_no      INTEGER NOT NULL,
    limit_amount INTEGER,
    limit_period INTEGER,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, pool_no, user_no)
) STRICT, WITHOUT ROWID;

-- What was used under one rule in one period: limits, monthly tiers, included quantities.
CREATE TABLE counter (
    tenant_no    INTEGER NOT NULL,
    subject      BLOB NOT NULL,
    rule         BLOB NOT NULL,
    period_start INTEGER NOT NULL,
    used         INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, subject, rule, period_start)
) STRICT, WITHOUT ROWID;

-- The ledger. In order of position, so that every insert goes to the last page; a key that began with the tenant would
-- make each entry of a batch dirty a page of its own.
CREATE TABLE entry (
    position      INTEGER NOT NULL PRIMARY KEY,
    prev_position INTEGER NOT NULL,
    tenant_no     INTEGER NOT NULL,
    wallet_id     BLOB NOT NULL,
    seq           INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    subject       BLOB NOT NULL,
    amount        INTEGER NOT NULL,
    held_delta    INTEGER NOT NULL,
    settled_after INTEGER NOT NULL,
    user_no       INTEGER,
    actor_kind    INTEGER NOT NULL,
    actor_no      INTEGER NOT NULL,
    occurred_at   INTEGER NOT NULL,
    recorded_at   INTEGER NOT NULL,
    allocations   BLOB NOT NULL,
    terms         BLOB NOT NULL,
    text_digest   BLOB,
    hash          BLOB NOT NULL
) STRICT;
-- The only other index of the ledger. Subjects are time-ordered ids, so it grows at its end too.
CREATE INDEX entry_by_subject ON entry (subject);

-- Personal text under the salt of the entry's digest. A row may be deleted (erasure), never changed.
CREATE TABLE entry_text (
    position  INTEGER NOT NULL PRIMARY KEY,
    tenant_no INTEGER NOT NULL,
    salt      BLOB NOT NULL,
    reference TEXT,
    metadata  TEXT,
    reason    TEXT
) STRICT;

-- One row for each wallet that a decision changed, at the position of its first entry there.
CREATE TABLE outbox (
    position  INTEGER NOT NULL PRIMARY KEY,
    tenant_no INTEGER NOT NULL,
    wallet_id BLOB NOT NULL,
    event     INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    entries   INTEGER NOT NULL
) STRICT;

-- Answers to idempotency keys, in the order they were given. Clients choose keys at random, so the embedded database has no
-- index on them: recent ones are found in memory, older ones in sorted runs. Server databases, which many nodes write, have
-- a unique one, in which keys that begin with a time (UUIDv7) lie in the order of that time.
CREATE TABLE answer (
    position       INTEGER NOT NULL PRIMARY KEY,
    tenant_no      INTEGER NOT NULL,
    key_digest     BLOB NOT NULL,
    request_digest BLOB NOT NULL,
    receipt        BLOB NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

-- Sorted runs of answers. The digest covers the tenant. A run without a head is unfinished or left over.
CREATE TABLE answer_run (
    run        INTEGER NOT NULL,
    key_digest BLOB NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (run, key_digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE answer_run_head (
    run            INTEGER NOT NULL PRIMARY KEY,
    level          INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    answers        INTEGER NOT NULL,
    newest_at      INTEGER NOT NULL,
    filter         BLOB NOT NULL
) STRICT;

-- Everything below is derived from entries. On the embedded database wallet, lot, hold, debt and freeze rows follow the ledger
-- up to the position of fold 'wallet_rows'; what comes after it is replayed at the start. Elsewhere they are exact.
CREATE TABLE wallet (
    tenant_no     INTEGER NOT NULL,
    wallet_id     BLOB NOT NULL,
    owner_kind    INTEGER NOT NULL,
    owner_no      INTEGER NOT NULL,
    unit_code     TEXT NOT NULL,
    scale         INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    head          BLOB NOT NULL,
    head_position INTEGER NOT NULL,
    recorded_at   INTEGER NOT NULL,
    settled       INTEGER NOT NULL,
    held          INTEGER NOT NULL,
    frozen        INTEGER NOT NULL,
    debt          INTEGER NOT NULL,
    last_topup    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id)
) STRICT, WITHOUT ROWID;

-- expires_at is the largest integer for a lot that never expires.
CREATE TABLE lot (
    tenant_no     INTEGER NOT NULL,
    lot_id        BLOB NOT NULL,
    wallet_id     BLOB NOT NULL,
    is_open       INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    priority      INTEGER NOT NULL,
    effective_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    granted       INTEGER NOT NULL,
    remaining     INTEGER NOT NULL,
    held          INTEGER NOT NULL,
    frozen        INTEGER NOT NULL,
    paid_minor    INTEGER,
    paid_currency TEXT,
    money         INTEGER NOT NULL,
    expired       INTEGER NOT NULL,
    expired_money INTEGER NOT NULL,
    origin        BLOB,
    parent        BLOB,
    PRIMARY KEY (tenant_no, lot_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX lot_by_wallet ON lot (tenant_no, wallet_id, is_open, lot_id);
CREATE INDEX lot_by_origin ON lot (tenant_no, origin) WHERE origin IS NOT NULL;

CREATE TABLE hold (
    tenant_no  INTEGER NOT NULL,
    wallet_id  BLOB NOT NULL,
    hold_id    BLOB NOT NULL,
    state      INTEGER NOT NULL,
    terms      BLOB NOT NULL,
    pins       BLOB NOT NULL,
    held       INTEGER NOT NULL,
    captured   INTEGER NOT NULL,
    user_no    INTEGER,
    placed_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, hold_id)
) STRICT, WITHOUT ROWID;
-- Most holds are saved closed and never enter it.
CREATE INDEX hold_active ON hold (tenant_no, wallet_id) WHERE state = 1;

CREATE TABLE debt (
    tenant_no INTEGER NOT NULL,
    wallet_id BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    cause     INTEGER NOT NULL,
    subject   BLOB NOT NULL,
    origin    BLOB,
    amount    INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE open_freeze (
    tenant_no INTEGER NOT NULL,
    wallet_id BLOB NOT NULL,
    ordinal   INTEGER NOT NULL,
    cause     BLOB NOT NULL,
    lot_id    BLOB NOT NULL,
    wanted    INTEGER NOT NULL,
    taken     INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, ordinal)
) STRICT, WITHOUT ROWID;

-- A wallet's entries by seq, and entries by reference: folded in bulk, complete up to fold 'wallet_history'.
CREATE TABLE wallet_history (
    tenant_no INTEGER NOT NULL,
    wallet_id BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry_reference (
    tenant_no INTEGER NOT NULL,
    reference TEXT NOT NULL,
    wallet_id BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, reference, wallet_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('clean_shutdown', 1);
INSERT INTO slot (slot, epoch, seq, closed_until, leased_until) VALUES
    (0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0), (3, 0, 0, 0, 0), (4, 0, 0, 0, 0), (5, 0, 0, 0, 0), (6, 0, 0, 0, 0), (7, 0, 0, 0, 0),
    (8, 0, 0, 0, 0), (9, 0, 0, 0, 0), (10, 0, 0, 0, 0), (11, 0, 0, 0, 0), (12, 0, 0, 0, 0), (13, 0, 0, 0, 0), (14, 0, 0, 0, 0), (15, 0, 0, 0, 0),
    (16, 0, 0, 0, 0), (17, 0, 0, 0, 0), (18, 0, 0, 0, 0), (19, 0, 0, 0, 0), (20, 0, 0, 0, 0), (21, 0, 0, 0, 0), (22, 0, 0, 0, 0), (23, 0, 0, 0, 0),
    (24, 0, 0, 0, 0), (25, 0, 0, 0, 0), (26, 0, 0, 0, 0), (27, 0, 0, 0, 0), (28, 0, 0, 0, 0), (29, 0, 0, 0, 0), (30, 0, 0, 0, 0), (31, 0, 0, 0, 0),
    (32, 0, 0, 0, 0), (33, 0, 0, 0, 0), (34, 0, 0, 0, 0), (35, 0, 0, 0, 0), (36, 0, 0, 0, 0), (37, 0, 0, 0, 0), (38, 0, 0, 0, 0), (39, 0, 0, 0, 0),
    (40, 0, 0, 0, 0), (41, 0, 0, 0, 0), (42, 0, 0, 0, 0), (43, 0, 0, 0, 0), (44, 0, 0, 0, 0), (45, 0, 0, 0, 0), (46, 0, 0, 0, 0), (47, 0, 0, 0, 0),
    (48, 0, 0, 0, 0), (49, 0, 0, 0, 0), (50, 0, 0, 0, 0), (51, 0, 0, 0, 0), (52, 0, 0, 0, 0), (53, 0, 0, 0, 0), (54, 0, 0, 0, 0), (55, 0, 0, 0, 0),
    (56, 0, 0, 0, 0), (57, 0, 0, 0, 0), (58, 0, 0, 0, 0), (59, 0, 0, 0, 0), (60, 0, 0, 0, 0), (61, 0, 0, 0, 0), (62, 0, 0, 0, 0), (63, 0, 0, 0, 0);
INSERT INTO config_epoch (one, epoch) VALUES (1, 1);
INSERT INTO fold (name, slot, position) VALUES ('wallet_rows', 1, 0), ('folder', 0, 0);
INSERT INTO unit (unit_code, scale, name, created_at) VALUES ('credit', 6, 'Credits', 0);

-- 0002 append_only
-- The second line of law 1: even a hand at the database cannot change history without removing a trigger first.
CREATE TRIGGER entry_is_not_updated BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are append-only: answer a mistake with a further entry'); END;

CREATE TRIGGER entry_is_not_deleted BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are append-only: answer a mistake with a further entry'); END;

CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER entry_text_is_not_updated BEFORE UPDATE ON entry_text
BEGIN SELECT RAISE(ABORT, 'the text of an entry is erased, never changed'); END;

-- 0003 overrides
-- Price versions that one tenant has for itself. Like those of all, they are never edited.

-- valid_until is null for a version that does not end by itself.
CREATE TABLE tenant_price (
    price_id    BLOB NOT NULL PRIMARY KEY,
    tenant_no   INTEGER NOT NULL,
    action_no   INTEGER NOT NULL,
    unit_code   TEXT NOT NULL,
    valid_from  INTEGER NOT NULL,
    valid_until INTEGER,
    model       BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- 0004 quotes
-- Quotes that a debit or hold was made with, recorded in its transaction: a quote is used once, and of two nodes with the same
-- one the second fails on the key. A row is of no use once the quote's time is over, and is deleted behind the funnel.
CREATE TABLE quote_use (
    tenant_no  INTEGER NOT NULL,
    quote_id   BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, quote_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX quote_use_by_expiry ON quote_use (expires_at);

-- 0005 usage_events
-- Usage that was reported as an event (CloudEvents: a source and an id), and how often what was asked for was refused.

-- Events that became debits, recorded in the transaction of the debit and kept for ever: of two nodes with the same one the second
-- fails on the key. The event is a digest of tenant, source and id, and before it the time of an id that is a UUID of version 7, zeros of
-- any other, as an id may be personal. It comes first, so that ids with a time go to the end; behind the tenant, of which there may be
-- one for each user, they would go everywhere.
CREATE TABLE usage_event (
    event     BLOB NOT NULL,
    tenant_no INTEGER NOT NULL,
    debit     BLOB NOT NULL,
    PRIMARY KEY (event, tenant_no)
) STRICT, WITHOUT ROWID;

-- Refusals leave no trace in the ledger. They are counted by quarter of an hour, behind the funnel, for 90 days, and some may be
-- lost.
CREATE TABLE refusal_count (
    tenant_no INTEGER NOT NULL,
    quarter   INTEGER NOT NULL,
    action_no INTEGER NOT NULL,
    code      TEXT NOT NULL,
    refused   INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, quarter, action_no, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX refusal_count_by_time ON refusal_count (quarter, tenant_no, action_no, code);

-- 0006 gate
-- Rules of the gate: which requests to somebody's product are charged, and how. What is configured: a rule that changes is
-- written anew.

-- host is null for any. methods are separated by commas; none means all. effect: 1 charge, 2 free, 3 deny; the columns from
-- action_key to fail_open are null unless it charges. Without tenant_key and tenant_header each user pays for itself.
-- user_is: 1 a key, 2 a credential.
CREATE TABLE gate_rule (
    rule_key      TEXT NOT NULL PRIMARY KEY,
    host          TEXT,
    path          TEXT NOT NULL,
    methods       TEXT NOT NULL,
    priority      INTEGER NOT NULL,
    active        INTEGER NOT NULL,
    effect        INTEGER NOT NULL,
    action_key    TEXT,
    quantity      INTEGER,
    tenant_key    TEXT,
    tenant_header TEXT,
    user_header   TEXT,
    user_is       INTEGER,
    fail_open     INTEGER,
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- 0007 limits
-- Limits: at most so much of a unit in a day, week or month (period 1, 2, 3), for all users of a tenant together (whose 1), for
-- each of them (2) or for one (3), of one action or of all. What counts against one is in the table counter.
CREATE TABLE limit_rule (
    limit_id   BLOB NOT NULL PRIMARY KEY,
    tenant_no  INTEGER NOT NULL,
    whose      INTEGER NOT NULL,
    user_no    INTEGER,
    action_no  INTEGER,
    unit_code  TEXT NOT NULL,
    amount     INTEGER NOT NULL,
    period     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- 0008 confirmation
-- Above which cost somebody is asked first: what actions say, and what users prefer. Both are texts of units and amounts in
-- smallest parts, such as `MYR 500 credit 5000000`; null says nothing.
-- A table beside `action`, as a column cannot be added twice where a migration is taken up again.
CREATE TABLE action_confirm (
    action_no     INTEGER NOT NULL PRIMARY KEY,
    confirm_above TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE user_preference (
    tenant_no     INTEGER NOT NULL,
    user_no       INTEGER NOT NULL,
    confirm_above TEXT,
    changed_at    INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
) STRICT, WITHOUT ROWID;

-- 0009 discounts_and_alerts
-- What tenants have taken off the prices of all, in hundredths of a percent; on one action, or on all where action_no is null.
-- valid_until is null for one that does not end by itself; where somebody ends it, it is set.
CREATE TABLE tenant_discount (
    discount_id  BLOB NOT NULL PRIMARY KEY,
    tenant_no    INTEGER NOT NULL,
    action_no    INTEGER,
    basis_points INTEGER NOT NULL,
    valid_from   INTEGER NOT NULL,
    valid_until  INTEGER,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- What a limit does beside refusing: the shares at which somebody is told, as a text of percents such as `50 80 100`, and whether
-- it refuses at all. A limit without a row refuses and tells nobody.
CREATE TABLE limit_alert (
    limit_id BLOB NOT NULL PRIMARY KEY,
    alert_at TEXT NOT NULL,
    enforced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

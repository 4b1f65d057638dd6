-- 0001 ledger
-- The first schema: identity, catalogue, the ledger and what is derived from it.
--
-- Type tokens in braces are rendered per database: int is 64 bits signed (tenant and user numbers are their bit pattern), id 16
-- bytes, digest 32 bytes, key a product's key, then reference, answer_key, text and blob. "rows" ends a table kept in order of
-- its integer key, "keyed" one kept in order of its primary key. "position" is the key of what is appended; where data may be
-- distributed by tenant, "primary" makes the tenant part of it. Times are microseconds since 1970, UTC. Sort keys are never null.

-- Small facts about the database itself.
CREATE TABLE meta (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

-- A writer leases a slot; the epoch tells a writer that lost it. Slot 0 numbers cold transactions. The embedded database
-- has one writer, whose lock is the file's: its slot is leased for ever.
CREATE TABLE slot (
    slot         BIGINT NOT NULL PRIMARY KEY,
    epoch        BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    closed_until BIGINT NOT NULL,
    leased_until BIGINT NOT NULL
);

CREATE TABLE config_epoch (
    one   BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL
);

-- How far what is derived behind the funnel has come in each slot.
CREATE TABLE fold (
    name     TEXT COLLATE "C" NOT NULL,
    slot     BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (name, slot)
);

-- kind 1: an organisation, named by its own key. kind 2: the personal tenant of one user, found by that user's key,
-- which is never shown as a tenant's name. The key is null once it was erased.
CREATE TABLE tenant (
    tenant_no     BIGINT NOT NULL PRIMARY KEY,
    kind          BIGINT NOT NULL,
    tenant_key    TEXT COLLATE "C",
    standing      BIGINT NOT NULL,
    zone          TEXT NOT NULL,
    funding_order BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX tenant_by_key ON tenant (kind, tenant_key);
-- Few tenants are not active, and each reload of the configuration asks for them.
CREATE INDEX tenant_restricted ON tenant (standing) WHERE standing <> 1;

CREATE TABLE users (
    tenant_no  BIGINT NOT NULL,
    user_no    BIGINT NOT NULL,
    user_key   TEXT COLLATE "C",
    email      TEXT,
    name       TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
);
CREATE UNIQUE INDEX users_by_key ON users (tenant_no, user_key);

CREATE TABLE unit (
    unit_code  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    scale      BIGINT NOT NULL,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE action (
    action_no       BIGINT NOT NULL PRIMARY KEY,
    action_key      TEXT COLLATE "C" NOT NULL,
    name            TEXT NOT NULL,
    unit_label      TEXT,
    description     TEXT,
    category        TEXT,
    active          BIGINT NOT NULL,
    overage         BIGINT NOT NULL,
    overage_percent BIGINT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX action_by_key ON action (action_key);

-- The units an action is paid in, in the order they are tried.
CREATE TABLE action_unit (
    action_no BIGINT NOT NULL,
    ordinal   BIGINT NOT NULL,
    unit_code TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (action_no, ordinal)
);

CREATE TABLE price (
    price_id   BYTEA NOT NULL PRIMARY KEY,
    action_no  BIGINT NOT NULL,
    unit_code  TEXT COLLATE "C" NOT NULL,
    valid_from BIGINT NOT NULL,
    model      BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_key (
    key_no     BIGINT NOT NULL PRIMARY KEY,
    hash       BYTEA NOT NULL,
    name       TEXT NOT NULL,
    scope      TEXT COLLATE "C" NOT NULL,
    tenant_no  BIGINT,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX api_key_by_hash ON api_key (hash);

-- Administrative changes, in the positions of slot 0. Append-only.
CREATE TABLE audit (
    position    BIGINT NOT NULL PRIMARY KEY,
    actor_kind  BIGINT NOT NULL,
    actor_no    BIGINT NOT NULL,
    what        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    before_json TEXT,
    after_json  TEXT,
    reason      TEXT,
    at          BIGINT NOT NULL
);

CREATE TABLE pool (
    tenant_no  BIGINT NOT NULL,
    pool_no    BIGINT NOT NULL,
    pool_key   TEXT COLLATE "C" NOT NULL,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, pool_no)
);
CREATE UNIQUE INDEX pool_by_key ON pool (tenant_no, pool_key);

CREATE TABLE pool_member (
    tenant_no    BIGINT NOT NULL,
    pool_no      BIGINT NOT NULL,
    user_no      BIGINT NOT NULL,
    limit_amount BIGINT,
    limit_period BIGINT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, pool_no, user_no)
);

-- What was used under one rule in one period: limits, monthly tiers, included quantities.
CREATE TABLE counter (
    tenant_no    BIGINT NOT NULL,
    subject      BYTEA NOT NULL,
    rule         BYTEA NOT NULL,
    period_start BIGINT NOT NULL,
    used         BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, subject, rule, period_start)
);

-- The ledger. In order of position, so that every insert goes to the last page; a key that began with the tenant would
-- make each entry of a batch dirty a page of its own.
CREATE TABLE entry (
    position      BIGINT NOT NULL,
    prev_position BIGINT NOT NULL,
    tenant_no     BIGINT NOT NULL,
    wallet_id     BYTEA NOT NULL,
    seq           BIGINT NOT NULL,
    kind          BIGINT NOT NULL,
    subject       BYTEA NOT NULL,
    amount        BIGINT NOT NULL,
    held_delta    BIGINT NOT NULL,
    settled_after BIGINT NOT NULL,
    user_no       BIGINT,
    actor_kind    BIGINT NOT NULL,
    actor_no      BIGINT NOT NULL,
    occurred_at   BIGINT NOT NULL,
    recorded_at   BIGINT NOT NULL,
    allocations   BYTEA NOT NULL,
    terms         BYTEA NOT NULL,
    text_digest   BYTEA,
    hash          BYTEA NOT NULL,
    PRIMARY KEY (position, tenant_no)
);
-- The only other index of the ledger. Subjects are time-ordered ids, so it grows at its end too.
CREATE INDEX entry_by_subject ON entry (subject);

-- Personal text under the salt of the entry's digest. A row may be deleted (erasure), never changed.
CREATE TABLE entry_text (
    position  BIGINT NOT NULL,
    tenant_no BIGINT NOT NULL,
    salt      BYTEA NOT NULL,
    reference TEXT COLLATE "C",
    metadata  TEXT,
    reason    TEXT,
    PRIMARY KEY (position, tenant_no)
);

-- One row for each wallet that a decision changed, at the position of its first entry there.
CREATE TABLE outbox (
    position  BIGINT NOT NULL,
    tenant_no BIGINT NOT NULL,
    wallet_id BYTEA NOT NULL,
    event     BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    entries   BIGINT NOT NULL,
    PRIMARY KEY (position, tenant_no)
);

-- Answers to idempotency keys, in the order they were given. Clients choose keys at random, so the embedded database has no
-- index on them: recent ones are found in memory, older ones in sorted runs. Server databases, which many nodes write, have
-- a unique one, in which keys that begin with a time (UUIDv7) lie in the order of that time.
CREATE TABLE answer (
    position       BIGINT NOT NULL,
    tenant_no      BIGINT NOT NULL,
    key_digest     BYTEA NOT NULL,
    request_digest BYTEA NOT NULL,
    receipt        BYTEA NOT NULL,
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (position, tenant_no)
);

-- Sorted runs of answers. The digest covers the tenant. A run without a head is unfinished or left over.
CREATE TABLE answer_run (
    run        BIGINT NOT NULL,
    key_digest BYTEA NOT NULL,
    position   BIGINT NOT NULL,
    PRIMARY KEY (run, key_digest)
);

CREATE TABLE answer_run_head (
    run            BIGINT NOT NULL PRIMARY KEY,
    level          BIGINT NOT NULL,
    first_position BIGINT NOT NULL,
    last_position  BIGINT NOT NULL,
    answers        BIGINT NOT NULL,
    newest_at      BIGINT NOT NULL,
    filter         BYTEA NOT NULL
);

-- Everything below is derived from entries. On the embedded database wallet, lot, hold, debt and freeze rows follow the ledger
-- up to the position of fold 'wallet_rows'; what comes after it is replayed at the start. Elsewhere they are exact.
CREATE TABLE wallet (
    tenant_no     BIGINT NOT NULL,
    wallet_id     BYTEA NOT NULL,
    owner_kind    BIGINT NOT NULL,
    owner_no      BIGINT NOT NULL,
    unit_code     TEXT COLLATE "C" NOT NULL,
    scale         BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    head          BYTEA NOT NULL,
    head_position BIGINT NOT NULL,
    recorded_at   BIGINT NOT NULL,
    settled       BIGINT NOT NULL,
    held          BIGINT NOT NULL,
    frozen        BIGINT NOT NULL,
    debt          BIGINT NOT NULL,
    last_topup    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id)
);

-- expires_at is the largest integer for a lot that never expires.
CREATE TABLE lot (
    tenant_no     BIGINT NOT NULL,
    lot_id        BYTEA NOT NULL,
    wallet_id     BYTEA NOT NULL,
    is_open       BIGINT NOT NULL,
    kind          BIGINT NOT NULL,
    priority      BIGINT NOT NULL,
    effective_at  BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    granted       BIGINT NOT NULL,
    remaining     BIGINT NOT NULL,
    held          BIGINT NOT NULL,
    frozen        BIGINT NOT NULL,
    paid_minor    BIGINT,
    paid_currency TEXT COLLATE "C",
    money         BIGINT NOT NULL,
    expired       BIGINT NOT NULL,
    expired_money BIGINT NOT NULL,
    origin        BYTEA,
    parent        BYTEA,
    PRIMARY KEY (tenant_no, lot_id)
);
CREATE INDEX lot_by_wallet ON lot (tenant_no, wallet_id, is_open, lot_id);
CREATE INDEX lot_by_origin ON lot (tenant_no, origin) WHERE origin IS NOT NULL;

CREATE TABLE hold (
    tenant_no  BIGINT NOT NULL,
    wallet_id  BYTEA NOT NULL,
    hold_id    BYTEA NOT NULL,
    state      BIGINT NOT NULL,
    terms      BYTEA NOT NULL,
    pins       BYTEA NOT NULL,
    held       BIGINT NOT NULL,
    captured   BIGINT NOT NULL,
    user_no    BIGINT,
    placed_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, hold_id)
);
-- Most holds are saved closed and never enter it.
CREATE INDEX hold_active ON hold (tenant_no, wallet_id) WHERE state = 1;

CREATE TABLE debt (
    tenant_no BIGINT NOT NULL,
    wallet_id BYTEA NOT NULL,
    seq       BIGINT NOT NULL,
    cause     BIGINT NOT NULL,
    subject   BYTEA NOT NULL,
    origin    BYTEA,
    amount    BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
);

CREATE TABLE open_freeze (
    tenant_no BIGINT NOT NULL,
    wallet_id BYTEA NOT NULL,
    ordinal   BIGINT NOT NULL,
    cause     BYTEA NOT NULL,
    lot_id    BYTEA NOT NULL,
    wanted    BIGINT NOT NULL,
    taken     BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, ordinal)
);

-- A wallet's entries by seq, and entries by reference: folded in bulk, complete up to fold 'wallet_history'.
CREATE TABLE wallet_history (
    tenant_no BIGINT NOT NULL,
    wallet_id BYTEA NOT NULL,
    seq       BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
);

CREATE TABLE entry_reference (
    tenant_no BIGINT NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    wallet_id BYTEA NOT NULL,
    seq       BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, reference, wallet_id, seq)
);

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
-- The second line of law 1, behind the rights of the role: even a hand at the database cannot change history without
-- removing a trigger first. TRUNCATE passes triggers for rows, so it has one of its own.
CREATE FUNCTION purser_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: answer a mistake with a further entry', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER entry_is_not_truncated BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER entry_text_is_not_updated BEFORE UPDATE ON entry_text
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();

-- What many nodes write at once is kept apart by a key: the last word on law 4.
CREATE UNIQUE INDEX answer_by_key ON answer (key_digest, tenant_no);

-- Rows that change with every debit find room for their next version on their own page.
ALTER TABLE wallet SET (fillfactor = 50);
ALTER TABLE lot SET (fillfactor = 50);
ALTER TABLE slot SET (fillfactor = 10);

-- 0003 overrides
-- Price versions that one tenant has for itself. Like those of all, they are never edited.

-- valid_until is null for a version that does not end by itself.
CREATE TABLE tenant_price (
    price_id    BYTEA NOT NULL PRIMARY KEY,
    tenant_no   BIGINT NOT NULL,
    action_no   BIGINT NOT NULL,
    unit_code   TEXT COLLATE "C" NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT,
    model       BYTEA NOT NULL,
    created_at  BIGINT NOT NULL
);

-- 0004 quotes
-- Quotes that a debit or hold was made with, recorded in its transaction: a quote is used once, and of two nodes with the same
-- one the second fails on the key. A row is of no use once the quote's time is over, and is deleted behind the funnel.
CREATE TABLE quote_use (
    tenant_no  BIGINT NOT NULL,
    quote_id   BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, quote_id)
);
CREATE INDEX quote_use_by_expiry ON quote_use (expires_at);

-- 0005 usage_events
-- Usage that was reported as an event (CloudEvents: a source and an id), and how often what was asked for was refused.

-- Events that became debits, recorded in the transaction of the debit and kept for ever: of two nodes with the same one the second
-- fails on the key. The event is a digest of tenant, source and id, and before it the time of an id that is a UUID of version 7, zeros of
-- any other, as an id may be personal. It comes first, so that ids with a time go to the end; behind the tenant, of which there may be
-- one for each user, they would go everywhere.
CREATE TABLE usage_event (
    event     BYTEA NOT NULL,
    tenant_no BIGINT NOT NULL,
    debit     BYTEA NOT NULL,
    PRIMARY KEY (event, tenant_no)
);

-- Refusals leave no trace in the ledger. They are counted by quarter of an hour, behind the funnel, for 90 days, and some may be
-- lost.
CREATE TABLE refusal_count (
    tenant_no BIGINT NOT NULL,
    quarter   BIGINT NOT NULL,
    action_no BIGINT NOT NULL,
    code      TEXT COLLATE "C" NOT NULL,
    refused   BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, quarter, action_no, code)
);
CREATE INDEX refusal_count_by_time ON refusal_count (quarter, tenant_no, action_no, code);

-- 0006 gate
-- Rules of the gate: which requests to somebody's product are charged, and how. What is configured: a rule that changes is
-- written anew.

-- host is null for any. methods are separated by commas; none means all. effect: 1 charge, 2 free, 3 deny; the columns from
-- action_key to fail_open are null unless it charges. Without tenant_key and tenant_header each user pays for itself.
-- user_is: 1 a key, 2 a credential.
CREATE TABLE gate_rule (
    rule_key      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    host          TEXT,
    path          TEXT NOT NULL,
    methods       TEXT NOT NULL,
    priority      BIGINT NOT NULL,
    active        BIGINT NOT NULL,
    effect        BIGINT NOT NULL,
    action_key    TEXT COLLATE "C",
    quantity      BIGINT,
    tenant_key    TEXT COLLATE "C",
    tenant_header TEXT,
    user_header   TEXT,
    user_is       BIGINT,
    fail_open     BIGINT,
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL
);

-- 0007 limits
-- Limits: at most so much of a unit in a day, week or month (period 1, 2, 3), for all users of a tenant together (whose 1), for
-- each of them (2) or for one (3), of one action or of all. What counts against one is in the table counter.
CREATE TABLE limit_rule (
    limit_id   BYTEA NOT NULL PRIMARY KEY,
    tenant_no  BIGINT NOT NULL,
    whose      BIGINT NOT NULL,
    user_no    BIGINT,
    action_no  BIGINT,
    unit_code  TEXT COLLATE "C" NOT NULL,
    amount     BIGINT NOT NULL,
    period     BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- 0008 confirmation
-- Above which cost somebody is asked first: what actions say, and what users prefer. Both are texts of units and amounts in
-- smallest parts, such as `MYR 500 credit 5000000`; null says nothing.
-- A table beside `action`, as a column cannot be added twice where a migration is taken up again.
CREATE TABLE action_confirm (
    action_no     BIGINT NOT NULL PRIMARY KEY,
    confirm_above TEXT
);
CREATE TABLE user_preference (
    tenant_no     BIGINT NOT NULL,
    user_no       BIGINT NOT NULL,
    confirm_above TEXT,
    changed_at    BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
);

-- 0009 discounts_and_alerts
-- What tenants have taken off the prices of all, in hundredths of a percent; on one action, or on all where action_no is null.
-- valid_until is null for one that does not end by itself; where somebody ends it, it is set.
CREATE TABLE tenant_discount (
    discount_id  BYTEA NOT NULL PRIMARY KEY,
    tenant_no    BIGINT NOT NULL,
    action_no    BIGINT,
    basis_points BIGINT NOT NULL,
    valid_from   BIGINT NOT NULL,
    valid_until  BIGINT,
    created_at   BIGINT NOT NULL
);
-- What a limit does beside refusing: the shares at which somebody is told, as a text of percents such as `50 80 100`, and whether
-- it refuses at all. A limit without a row refuses and tells nobody.
CREATE TABLE limit_alert (
    limit_id BYTEA NOT NULL PRIMARY KEY,
    alert_at TEXT NOT NULL,
    enforced BIGINT NOT NULL
);

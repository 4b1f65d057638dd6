-- What an afternoon of SQL would make of a prepaid wallet: the state of a debit in four tables.
-- Kinder to PostgreSQL than Purser is to itself: no hash chain, no outbox, no allocations, two indexes on
-- what grows, no look-up of the price and no authentication.
DROP TABLE IF EXISTS wallet, lot, entry, answer;

CREATE TABLE wallet (
    id         bigint PRIMARY KEY,
    settled    bigint NOT NULL,
    held       bigint NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE lot (
    id        bigint PRIMARY KEY,
    wallet_id bigint NOT NULL,
    granted   bigint NOT NULL,
    remaining bigint NOT NULL,
    held      bigint NOT NULL
);

CREATE TABLE entry (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet_id   bigint NOT NULL,
    kind        smallint NOT NULL,
    amount      bigint NOT NULL,
    held_delta  bigint NOT NULL,
    action      text NOT NULL,
    actor       bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE answer (
    key    uuid PRIMARY KEY,
    status smallint NOT NULL,
    body   text NOT NULL
);

INSERT INTO wallet SELECT id, 1000000000000, 0, 0, now() FROM generate_series(1, :wallets) AS id;
INSERT INTO lot SELECT id, id, 1000000000000, 1000000000000, 0 FROM generate_series(1, :wallets) AS id;
VACUUM ANALYZE wallet;
VACUUM ANALYZE lot;
CHECKPOINT;

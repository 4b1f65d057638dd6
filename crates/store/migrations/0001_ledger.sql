-- The first schema: identity, catalogue, the ledger and what is derived from it.
--
-- Type tokens in braces are rendered per database: int is 64 bits signed (tenant and user numbers are their bit pattern), id 16
-- bytes, digest 32 bytes, key a product's key, then reference, answer_key, text and blob. "rows" ends a table kept in order of
-- its integer key, "keyed" one kept in order of its primary key. "position" is the key of what is appended; where data may be
-- distributed by tenant, "primary" makes the tenant part of it. Times are microseconds since 1970, UTC. Sort keys are never null.

-- Small facts about the database itself.
CREATE TABLE meta (
    name  {key} NOT NULL PRIMARY KEY,
    value {int} NOT NULL
){keyed};

-- A writer leases a slot; the epoch tells a writer that lost it. Slot 0 numbers cold transactions. The embedded database
-- has one writer, whose lock is the file's: its slot is leased for ever.
CREATE TABLE slot (
    slot         {int} NOT NULL PRIMARY KEY,
    epoch        {int} NOT NULL,
    seq          {int} NOT NULL,
    closed_until {int} NOT NULL,
    leased_until {int} NOT NULL
){rows};

CREATE TABLE config_epoch (
    one   {int} NOT NULL PRIMARY KEY,
    epoch {int} NOT NULL
){rows};

-- How far what is derived behind the funnel has come in each slot.
CREATE TABLE fold (
    name     {key} NOT NULL,
    slot     {int} NOT NULL,
    position {int} NOT NULL,
    PRIMARY KEY (name, slot)
){keyed};

-- kind 1: an organisation, named by its own key. kind 2: the personal tenant of one user, found by that user's key,
-- which is never shown as a tenant's name. The key is null once it was erased.
CREATE TABLE tenant (
    tenant_no     {int} NOT NULL PRIMARY KEY,
    kind          {int} NOT NULL,
    tenant_key    {key},
    standing      {int} NOT NULL,
    zone          {text} NOT NULL,
    funding_order {int} NOT NULL,
    created_at    {int} NOT NULL
){rows};
CREATE UNIQUE INDEX tenant_by_key ON tenant (kind, tenant_key);
-- Few tenants are not active, and each reload of the configuration asks for them.
CREATE INDEX tenant_restricted ON tenant (standing){where:standing <> 1};

CREATE TABLE users (
    tenant_no  {int} NOT NULL,
    user_no    {int} NOT NULL,
    user_key   {key},
    email      {text},
    name       {text},
    created_at {int} NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
){keyed};
CREATE UNIQUE INDEX users_by_key ON users (tenant_no, user_key);

CREATE TABLE unit (
    unit_code  {key} NOT NULL PRIMARY KEY,
    scale      {int} NOT NULL,
    name       {text} NOT NULL,
    created_at {int} NOT NULL
){keyed};

CREATE TABLE action (
    action_no       {int} NOT NULL PRIMARY KEY,
    action_key      {key} NOT NULL,
    name            {text} NOT NULL,
    unit_label      {text},
    description     {text},
    category        {text},
    active          {int} NOT NULL,
    overage         {int} NOT NULL,
    overage_percent {int} NOT NULL,
    created_at      {int} NOT NULL
){rows};
CREATE UNIQUE INDEX action_by_key ON action (action_key);

-- The units an action is paid in, in the order they are tried.
CREATE TABLE action_unit (
    action_no {int} NOT NULL,
    ordinal   {int} NOT NULL,
    unit_code {key} NOT NULL,
    PRIMARY KEY (action_no, ordinal)
){keyed};

CREATE TABLE price (
    price_id   {id} NOT NULL PRIMARY KEY,
    action_no  {int} NOT NULL,
    unit_code  {key} NOT NULL,
    valid_from {int} NOT NULL,
    model      {blob} NOT NULL,
    created_at {int} NOT NULL
){keyed};

CREATE TABLE api_key (
    key_no     {int} NOT NULL PRIMARY KEY,
    hash       {digest} NOT NULL,
    name       {text} NOT NULL,
    scope      {key} NOT NULL,
    tenant_no  {int},
    created_at {int} NOT NULL,
    revoked_at {int}
){rows};
CREATE UNIQUE INDEX api_key_by_hash ON api_key (hash);

-- Administrative changes, in the positions of slot 0. Append-only.
CREATE TABLE audit (
    position    {int} NOT NULL PRIMARY KEY,
    actor_kind  {int} NOT NULL,
    actor_no    {int} NOT NULL,
    what        {text} NOT NULL,
    subject     {text} NOT NULL,
    before_json {text},
    after_json  {text},
    reason      {text},
    at          {int} NOT NULL
){rows};

CREATE TABLE pool (
    tenant_no  {int} NOT NULL,
    pool_no    {int} NOT NULL,
    pool_key   {key} NOT NULL,
    name       {text} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (tenant_no, pool_no)
){keyed};
CREATE UNIQUE INDEX pool_by_key ON pool (tenant_no, pool_key);

CREATE TABLE pool_member (
    tenant_no    {int} NOT NULL,
    pool_no      {int} NOT NULL,
    user_no      {int} NOT NULL,
    limit_amount {int},
    limit_period {int},
    created_at   {int} NOT NULL,
    PRIMARY KEY (tenant_no, pool_no, user_no)
){keyed};

-- What was used under one rule in one period: limits, monthly tiers, included quantities.
CREATE TABLE counter (
    tenant_no    {int} NOT NULL,
    subject      {id} NOT NULL,
    rule         {id} NOT NULL,
    period_start {int} NOT NULL,
    used         {int} NOT NULL,
    PRIMARY KEY (tenant_no, subject, rule, period_start)
){keyed};

-- The ledger. In order of position, so that every insert goes to the last page; a key that began with the tenant would
-- make each entry of a batch dirty a page of its own.
CREATE TABLE entry (
    position      {position},
    prev_position {int} NOT NULL,
    tenant_no     {int} NOT NULL,
    wallet_id     {id} NOT NULL,
    seq           {int} NOT NULL,
    kind          {int} NOT NULL,
    subject       {id} NOT NULL,
    amount        {int} NOT NULL,
    held_delta    {int} NOT NULL,
    settled_after {int} NOT NULL,
    user_no       {int},
    actor_kind    {int} NOT NULL,
    actor_no      {int} NOT NULL,
    occurred_at   {int} NOT NULL,
    recorded_at   {int} NOT NULL,
    allocations   {blob} NOT NULL,
    terms         {blob} NOT NULL,
    text_digest   {digest},
    hash          {digest} NOT NULL{primary}
){rows};
-- The only other index of the ledger. Subjects are time-ordered ids, so it grows at its end too.
CREATE INDEX entry_by_subject ON entry (subject);

-- Personal text under the salt of the entry's digest. A row may be deleted (erasure), never changed.
CREATE TABLE entry_text (
    position  {position},
    tenant_no {int} NOT NULL,
    salt      {id} NOT NULL,
    reference {reference},
    metadata  {text},
    reason    {text}{primary}
){rows};

-- One row for each wallet that a decision changed, at the position of its first entry there.
CREATE TABLE outbox (
    position  {position},
    tenant_no {int} NOT NULL,
    wallet_id {id} NOT NULL,
    event     {int} NOT NULL,
    first_seq {int} NOT NULL,
    entries   {int} NOT NULL{primary}
){rows};

-- Answers to idempotency keys, in the order they were given. Clients choose keys at random, so the embedded database has no
-- index on them: recent ones are found in memory, older ones in sorted runs. Server databases, which many nodes write, have
-- a unique one, in which keys that begin with a time (UUIDv7) lie in the order of that time.
CREATE TABLE answer (
    position       {position},
    tenant_no      {int} NOT NULL,
    key_digest     {answer_key} NOT NULL,
    request_digest {digest} NOT NULL,
    receipt        {blob} NOT NULL,
    created_at     {int} NOT NULL{primary}
){rows};

-- Sorted runs of answers. The digest covers the tenant. A run without a head is unfinished or left over.
CREATE TABLE answer_run (
    run        {int} NOT NULL,
    key_digest {id} NOT NULL,
    position   {int} NOT NULL,
    PRIMARY KEY (run, key_digest)
){keyed};

CREATE TABLE answer_run_head (
    run            {int} NOT NULL PRIMARY KEY,
    level          {int} NOT NULL,
    first_position {int} NOT NULL,
    last_position  {int} NOT NULL,
    answers        {int} NOT NULL,
    newest_at      {int} NOT NULL,
    filter         {blob} NOT NULL
){rows};

-- Everything below is derived from entries. On the embedded database wallet, lot, hold, debt and freeze rows follow the ledger
-- up to the position of fold 'wallet_rows'; what comes after it is replayed at the start. Elsewhere they are exact.
CREATE TABLE wallet (
    tenant_no     {int} NOT NULL,
    wallet_id     {id} NOT NULL,
    owner_kind    {int} NOT NULL,
    owner_no      {int} NOT NULL,
    unit_code     {key} NOT NULL,
    scale         {int} NOT NULL,
    seq           {int} NOT NULL,
    head          {digest} NOT NULL,
    head_position {int} NOT NULL,
    recorded_at   {int} NOT NULL,
    settled       {int} NOT NULL,
    held          {int} NOT NULL,
    frozen        {int} NOT NULL,
    debt          {int} NOT NULL,
    last_topup    {int} NOT NULL,
    created_at    {int} NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id)
){keyed};

-- expires_at is the largest integer for a lot that never expires.
CREATE TABLE lot (
    tenant_no     {int} NOT NULL,
    lot_id        {id} NOT NULL,
    wallet_id     {id} NOT NULL,
    is_open       {int} NOT NULL,
    kind          {int} NOT NULL,
    priority      {int} NOT NULL,
    effective_at  {int} NOT NULL,
    expires_at    {int} NOT NULL,
    granted       {int} NOT NULL,
    remaining     {int} NOT NULL,
    held          {int} NOT NULL,
    frozen        {int} NOT NULL,
    paid_minor    {int},
    paid_currency {key},
    money         {int} NOT NULL,
    expired       {int} NOT NULL,
    expired_money {int} NOT NULL,
    origin        {id},
    parent        {id},
    PRIMARY KEY (tenant_no, lot_id)
){keyed};
CREATE INDEX lot_by_wallet ON lot (tenant_no, wallet_id, is_open, lot_id);
CREATE INDEX lot_by_origin ON lot (tenant_no, origin){where:origin IS NOT NULL};

CREATE TABLE hold (
    tenant_no  {int} NOT NULL,
    wallet_id  {id} NOT NULL,
    hold_id    {id} NOT NULL,
    state      {int} NOT NULL,
    terms      {blob} NOT NULL,
    pins       {blob} NOT NULL,
    held       {int} NOT NULL,
    captured   {int} NOT NULL,
    user_no    {int},
    placed_at  {int} NOT NULL,
    expires_at {int} NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, hold_id)
){keyed};
-- Most holds are saved closed and never enter it.
CREATE INDEX hold_active ON hold (tenant_no, wallet_id{and_state}){where:state = 1};

CREATE TABLE debt (
    tenant_no {int} NOT NULL,
    wallet_id {id} NOT NULL,
    seq       {int} NOT NULL,
    cause     {int} NOT NULL,
    subject   {id} NOT NULL,
    origin    {id},
    amount    {int} NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
){keyed};

CREATE TABLE open_freeze (
    tenant_no {int} NOT NULL,
    wallet_id {id} NOT NULL,
    ordinal   {int} NOT NULL,
    cause     {id} NOT NULL,
    lot_id    {id} NOT NULL,
    wanted    {int} NOT NULL,
    taken     {int} NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, ordinal)
){keyed};

-- A wallet's entries by seq, and entries by reference: folded in bulk, complete up to fold 'wallet_history'.
CREATE TABLE wallet_history (
    tenant_no {int} NOT NULL,
    wallet_id {id} NOT NULL,
    seq       {int} NOT NULL,
    position  {int} NOT NULL,
    PRIMARY KEY (tenant_no, wallet_id, seq)
){keyed};

CREATE TABLE entry_reference (
    tenant_no {int} NOT NULL,
    reference {reference} NOT NULL,
    wallet_id {id} NOT NULL,
    seq       {int} NOT NULL,
    position  {int} NOT NULL,
    PRIMARY KEY (tenant_no, reference, wallet_id, seq)
){keyed};

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

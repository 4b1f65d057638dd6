-- The first schema: identity, catalogue, the ledger and what is derived from it.
--
-- Type tokens are rendered per database: {int} 64 bits signed (tenant and user numbers are their bit pattern), {id} 16 bytes,
-- {digest} 32 bytes, {key} a product's key, {text}, {blob}. {rows} ends a table kept in order of its integer key, {keyed}
-- one kept in order of its primary key. Times are microseconds since 1970, UTC. Sort keys are never null.

-- Small facts about the database itself.
CREATE TABLE meta (
    name  {key} NOT NULL PRIMARY KEY,
    value {int} NOT NULL
){keyed};

-- A writer leases a slot; the epoch tells a writer that lost it. Slot 0 numbers cold transactions.
CREATE TABLE slot (
    slot         {int} NOT NULL PRIMARY KEY,
    epoch        {int} NOT NULL,
    seq          {int} NOT NULL,
    closed_until {int} NOT NULL
){rows};

CREATE TABLE config_epoch (
    one   {int} NOT NULL PRIMARY KEY,
    epoch {int} NOT NULL
){rows};

-- How far what is indexed behind the funnel has come.
CREATE TABLE fold (
    name     {key} NOT NULL PRIMARY KEY,
    position {int} NOT NULL
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
    position      {int} NOT NULL PRIMARY KEY,
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
    hash          {digest} NOT NULL
){rows};
-- The only other index of the ledger. Subjects are time-ordered ids, so it grows at its end too.
CREATE INDEX entry_by_subject ON entry (subject);

-- Personal text under the salt of the entry's digest. A row may be deleted (erasure), never changed.
CREATE TABLE entry_text (
    position  {int} NOT NULL PRIMARY KEY,
    salt      {id} NOT NULL,
    reference {text},
    metadata  {text},
    reason    {text}
){rows};

-- One row for each wallet that a decision changed, at the position of its first entry there.
CREATE TABLE outbox (
    position  {int} NOT NULL PRIMARY KEY,
    tenant_no {int} NOT NULL,
    wallet_id {id} NOT NULL,
    event     {int} NOT NULL,
    first_seq {int} NOT NULL,
    entries   {int} NOT NULL
){rows};

-- Answers to idempotency keys, in the order they were given. Clients choose keys at random, so there is no index on them
-- here: recent ones are found in memory, older ones in sorted runs.
CREATE TABLE answer (
    position       {int} NOT NULL PRIMARY KEY,
    tenant_no      {int} NOT NULL,
    key_digest     {id} NOT NULL,
    request_digest {digest} NOT NULL,
    receipt        {blob} NOT NULL,
    created_at     {int} NOT NULL
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

-- Everything below is derived from entries. Wallet, lot, hold, debt and freeze rows follow the ledger up to the position
-- of fold 'wallet_rows'; what comes after it is replayed at the start.
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
CREATE INDEX hold_active ON hold (tenant_no, wallet_id){where:state = 1};

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

CREATE TABLE freeze (
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
    reference {key} NOT NULL,
    position  {int} NOT NULL,
    PRIMARY KEY (tenant_no, reference, position)
){keyed};

INSERT INTO meta (name, value) VALUES ('clean_shutdown', 1);
INSERT INTO slot (slot, epoch, seq, closed_until) VALUES (0, 0, 0, 0);
INSERT INTO slot (slot, epoch, seq, closed_until) VALUES (1, 0, 0, 0);
INSERT INTO config_epoch (one, epoch) VALUES (1, 1);
INSERT INTO fold (name, position) VALUES ('wallet_rows', 0);
INSERT INTO fold (name, position) VALUES ('wallet_history', 0);
INSERT INTO unit (unit_code, scale, name, created_at) VALUES ('credit', 6, 'Credits', 0);

-- Usage that was reported as an event (CloudEvents: a source and an id), and how often what was asked for was refused.

-- Events that became debits, recorded in the transaction of the debit and kept for ever: of two nodes with the same one the second
-- fails on the key. The event is a digest of tenant, source and id, and before it the time of an id that is a UUID of version 7, zeros of
-- any other, as an id may be personal. It comes first, so that ids with a time go to the end; behind the tenant, of which there may be
-- one for each user, they would go everywhere.
CREATE TABLE usage_event (
    event     {answer_key} NOT NULL,
    tenant_no {int} NOT NULL,
    debit     {id} NOT NULL,
    PRIMARY KEY (event, tenant_no)
){keyed};

-- Refusals leave no trace in the ledger. They are counted by quarter of an hour, behind the funnel, for 90 days, and some may be
-- lost.
CREATE TABLE refusal_count (
    tenant_no {int} NOT NULL,
    quarter   {int} NOT NULL,
    action_no {int} NOT NULL,
    code      {key} NOT NULL,
    refused   {int} NOT NULL,
    PRIMARY KEY (tenant_no, quarter, action_no, code)
){keyed};
CREATE INDEX refusal_count_by_time ON refusal_count (quarter, tenant_no, action_no, code);

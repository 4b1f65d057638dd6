-- Quotes that a debit or hold was made with, recorded in its transaction: a quote is used once, and of two nodes with the same
-- one the second fails on the key. A row is of no use once the quote's time is over, and is deleted behind the funnel.
CREATE TABLE quote_use (
    tenant_no  {int} NOT NULL,
    quote_id   {id} NOT NULL,
    expires_at {int} NOT NULL,
    PRIMARY KEY (tenant_no, quote_id)
){keyed};
CREATE INDEX quote_use_by_expiry ON quote_use (expires_at);

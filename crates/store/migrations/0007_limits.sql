-- Limits: at most so much of a unit in a day, week or month (period 1, 2, 3), for all users of a tenant together (whose 1), for
-- each of them (2) or for one (3), of one action or of all. What counts against one is in the table counter.
CREATE TABLE limit_rule (
    limit_id   {id} NOT NULL PRIMARY KEY,
    tenant_no  {int} NOT NULL,
    whose      {int} NOT NULL,
    user_no    {int},
    action_no  {int},
    unit_code  {key} NOT NULL,
    amount     {int} NOT NULL,
    period     {int} NOT NULL,
    created_at {int} NOT NULL
){keyed};

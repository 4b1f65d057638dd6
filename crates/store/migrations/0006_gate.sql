-- Rules of the gate: which requests to somebody's product are charged, and how. What is configured: a rule that changes is
-- written anew.

-- host is null for any. methods are separated by commas; none means all. effect: 1 charge, 2 free, 3 deny; the columns from
-- action_key to fail_open are null unless it charges. Without tenant_key and tenant_header each user pays for itself.
-- user_is: 1 a key, 2 a credential.
CREATE TABLE gate_rule (
    rule_key      {key} NOT NULL PRIMARY KEY,
    host          {text},
    path          {text} NOT NULL,
    methods       {text} NOT NULL,
    priority      {int} NOT NULL,
    active        {int} NOT NULL,
    effect        {int} NOT NULL,
    action_key    {key},
    quantity      {int},
    tenant_key    {key},
    tenant_header {text},
    user_header   {text},
    user_is       {int},
    fail_open     {int},
    created_at    {int} NOT NULL,
    changed_at    {int} NOT NULL
){keyed};

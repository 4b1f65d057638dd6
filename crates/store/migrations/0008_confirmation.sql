-- Above which cost somebody is asked first: what actions say, and what users prefer. Both are texts of units and amounts in
-- smallest parts, such as `MYR 500 credit 5000000`; null says nothing.
-- A table beside `action`, as a column cannot be added twice where a migration is taken up again.
CREATE TABLE action_confirm (
    action_no     {int} NOT NULL PRIMARY KEY,
    confirm_above {text}
){keyed};
CREATE TABLE user_preference (
    tenant_no     {int} NOT NULL,
    user_no       {int} NOT NULL,
    confirm_above {text},
    changed_at    {int} NOT NULL,
    PRIMARY KEY (tenant_no, user_no)
){keyed};

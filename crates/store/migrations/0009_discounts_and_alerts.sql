-- What tenants have taken off the prices of all, in hundredths of a percent; on one action, or on all where action_no is null.
-- valid_until is null for one that does not end by itself; where somebody ends it, it is set.
CREATE TABLE tenant_discount (
    discount_id  {id} NOT NULL PRIMARY KEY,
    tenant_no    {int} NOT NULL,
    action_no    {int},
    basis_points {int} NOT NULL,
    valid_from   {int} NOT NULL,
    valid_until  {int},
    created_at   {int} NOT NULL
){keyed};
-- What a limit does beside refusing: the shares at which somebody is told, as a text of percents such as `50 80 100`, and whether
-- it refuses at all. A limit without a row refuses and tells nobody.
CREATE TABLE limit_alert (
    limit_id {id} NOT NULL PRIMARY KEY,
    alert_at {text} NOT NULL,
    enforced {int} NOT NULL
){keyed};

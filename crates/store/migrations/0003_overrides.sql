-- Price versions that one tenant has for itself. Like those of all, they are never edited.

-- valid_until is null for a version that does not end by itself.
CREATE TABLE tenant_price (
    price_id    {id} NOT NULL PRIMARY KEY,
    tenant_no   {int} NOT NULL,
    action_no   {int} NOT NULL,
    unit_code   {key} NOT NULL,
    valid_from  {int} NOT NULL,
    valid_until {int},
    model       {blob} NOT NULL,
    created_at  {int} NOT NULL
){keyed};

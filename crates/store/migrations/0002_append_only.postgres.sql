-- The second line of law 1, behind the rights of the role: even a hand at the database cannot change history without
-- removing a trigger first. TRUNCATE passes triggers for rows, so it has one of its own.
CREATE FUNCTION purser_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: answer a mistake with a further entry', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER entry_is_not_truncated BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION purser_append_only();
CREATE TRIGGER entry_text_is_not_updated BEFORE UPDATE ON entry_text
    FOR EACH ROW EXECUTE FUNCTION purser_append_only();

-- What many nodes write at once is kept apart by a key: the last word on law 4.
CREATE UNIQUE INDEX answer_by_key ON answer (key_digest, tenant_no);

-- Rows that change with every debit find room for their next version on their own page.
ALTER TABLE wallet SET (fillfactor = 50);
ALTER TABLE lot SET (fillfactor = 50);
ALTER TABLE slot SET (fillfactor = 10);

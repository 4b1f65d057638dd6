-- The second line of law 1, behind the rights of the role: even a hand at the database cannot change history without
-- removing a trigger first. TRUNCATE passes triggers; only the rights of the role keep it away.
CREATE TRIGGER entry_is_not_updated BEFORE UPDATE ON entry
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only: answer a mistake with a further entry';
CREATE TRIGGER entry_is_not_deleted BEFORE DELETE ON entry
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only: answer a mistake with a further entry';
CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit trail is append-only';
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit trail is append-only';
CREATE TRIGGER entry_text_is_not_updated BEFORE UPDATE ON entry_text
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the text of an entry is erased, never changed';

-- What many nodes write at once is kept apart by a key: the last word on law 4.
CREATE UNIQUE INDEX answer_by_key ON answer (key_digest, tenant_no);

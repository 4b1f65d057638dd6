-- The second line of law 1: even a hand at the database cannot change history without removing a trigger first.
CREATE TRIGGER entry_is_not_updated BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are append-only: answer a mistake with a further entry'); END;

CREATE TRIGGER entry_is_not_deleted BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are append-only: answer a mistake with a further entry'); END;

CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER entry_text_is_not_updated BEFORE UPDATE ON entry_text
BEGIN SELECT RAISE(ABORT, 'the text of an entry is erased, never changed'); END;

CREATE INDEX i ON transactions (user_id);

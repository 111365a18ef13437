CREATE VIEW v AS SELECT amount FROM transactions WHERE user_id IN (SELECT user_id FROM logins);

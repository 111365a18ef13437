CREATE VIEW v AS SELECT amount
FROM transactions JOIN logins ON logins.user_id = transactions.user_id;

CREATE VIEW v AS
SELECT amount FROM transactions
UNION ALL SELECT amount FROM transactions;

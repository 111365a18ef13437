CREATE VIEW v AS
SELECT (SELECT count(*) FROM transactions
        WHERE transactions.user_id = transactions.user_id) AS n
FROM transactions;

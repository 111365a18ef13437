CREATE VIEW v AS
SELECT count(*) OVER w AS n
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY date_bin(INTERVAL '1 minute', opened));

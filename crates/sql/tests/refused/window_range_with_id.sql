CREATE VIEW v AS
SELECT count(*) OVER w AS n
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY event_time, transaction_id
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

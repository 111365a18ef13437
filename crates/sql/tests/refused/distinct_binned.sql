CREATE VIEW v AS
SELECT count(DISTINCT status) OVER w AS n
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

CREATE VIEW v AS
SELECT extract(hour FROM event_time - lag(event_time) OVER w) AS hours
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

CREATE VIEW v AS
SELECT max(event_time::text) OVER w AS latest
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY event_time RANGE UNBOUNDED PRECEDING);

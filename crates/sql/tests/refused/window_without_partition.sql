CREATE VIEW v AS
SELECT count(*) OVER w AS n
FROM transactions
WINDOW w AS (ORDER BY event_time RANGE INTERVAL '1 hour' PRECEDING);

CREATE VIEW v AS
SELECT amount,
  fee
FROM transactions
WHERE count(*) OVER w > 1
WINDOW w AS (PARTITION BY user_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

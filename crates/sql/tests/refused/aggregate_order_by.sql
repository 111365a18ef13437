CREATE VIEW v AS
SELECT amount,
  last_value(status ORDER BY amount) OVER w AS n
FROM transactions
WINDOW w AS (PARTITION BY user_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- Has this user used this device before, and how many devices in thirty days?
-- judges: duckdb (postgres: no DISTINCT in windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  device         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER with_it = 0 AS new_device,
  count(DISTINCT device) OVER month AS devices_month
FROM transactions
WINDOW
  with_it AS (PARTITION BY user_id, device ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING),
  month AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);

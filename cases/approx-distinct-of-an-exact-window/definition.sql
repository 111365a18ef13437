-- Where the events themselves are kept, approx_distinct is exact.
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
  approx_distinct(device) OVER hour AS devices
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

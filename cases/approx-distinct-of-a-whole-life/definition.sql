-- How many devices a user ever had: a sketch, exact while they are few.
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
  approx_distinct(device) OVER life AS devices
FROM transactions
WINDOW
  life AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

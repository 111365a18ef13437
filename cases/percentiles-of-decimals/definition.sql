-- A percentile of decimals is a DOUBLE: between 1.25 and 1.50 lies 1.375.
-- judges: none (DuckDB rounds to the scale of the decimals, PostgreSQL has no percentiles in
--   windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  approx_percentile_cont(amount, 0.5) OVER hour AS median
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

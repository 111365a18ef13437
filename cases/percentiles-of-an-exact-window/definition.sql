-- Percentiles of an exact window are exact, in proportion between the two nearest values.
-- judges: duckdb (postgres: no percentiles in windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  x              DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  approx_percentile_cont(x, 0.5) OVER hour AS median,
  approx_percentile_cont(x, 0.9) OVER hour AS p90,
  approx_percentile_cont(x, 0) OVER hour AS least,
  approx_percentile_cont(x, 1) OVER hour AS greatest
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

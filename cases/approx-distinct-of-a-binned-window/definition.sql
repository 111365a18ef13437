-- The sketch of a binned window is exact while values are few, over bins that share values and
-- after bins have left.
-- judges: duckdb (postgres: no DISTINCT in windows)
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  device         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  approx_distinct(device) OVER hour AS devices
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

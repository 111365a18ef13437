-- Where events are not kept a percentile is the middle of the bucket that holds the value of its
-- rank, at most 0.4 % off: 100 lies in 100 to 100.5, 1000 in 1000 to 1004, -3 in -3.015625 to -3.
-- judges: none (a sketch, at most 0.4 % off)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  x              DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  approx_percentile_cont(x, 0) OVER hour AS least,
  approx_percentile_cont(x, 0.5) OVER hour AS median,
  approx_percentile_cont(x, 1) OVER hour AS greatest,
  approx_percentile_cont(x, 0.5) OVER life AS median_ever
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  life AS (PARTITION BY merchant_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

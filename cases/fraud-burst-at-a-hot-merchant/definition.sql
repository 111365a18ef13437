-- A merchant with many customers is binned: transactions of five minutes against the mean of five
-- minutes over a day.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER five AS n_five,
  CAST(count(*) OVER five AS DOUBLE PRECISION) * 288 / nullif(count(*) OVER day, 0) AS burst
FROM transactions
WINDOW
  five AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW),
  day AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

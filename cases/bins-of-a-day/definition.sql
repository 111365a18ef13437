-- Daily bins over a month for a hot merchant: thirty numbers and the youngest events.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '30 days');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER month AS n,
  avg(amount) OVER month AS mean
FROM transactions
WINDOW
  month AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 day', event_time)
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);

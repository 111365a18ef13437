-- Minutes for the last hour, hours for the last day: two states of one merchant.
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
  count(*) OVER by_minute AS n_hour,
  count(*) OVER by_hour AS n_day
FROM transactions
WINDOW
  by_minute AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  by_hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 hour', event_time)
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

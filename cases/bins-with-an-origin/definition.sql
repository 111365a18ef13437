-- Bins may start elsewhere than at the full minute: date_bin takes an origin, as PostgreSQL wants
-- it.
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
  count(*) OVER recent AS n
FROM transactions
WINDOW
  recent AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '5 minutes', event_time,
    TIMESTAMP '2000-01-01 00:02:00')
    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW);

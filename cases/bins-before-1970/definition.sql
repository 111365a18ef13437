-- A bin starts at or before its events, before 1970 too: division rounds down, not towards zero.
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
  recent AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW);

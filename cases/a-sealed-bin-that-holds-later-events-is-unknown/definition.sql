-- A bin older than the reorder bound is one number and cannot be split: a row inside it with later
-- events behind it is UNKNOWN. An answer may be missing, never leak the future.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day', reorder = '10 seconds');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

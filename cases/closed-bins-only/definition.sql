-- A near end of one bin leaves the newest bin out: only closed minutes count, and every database
-- agrees over the whole table.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER closed AS n,
  sum(amount) OVER closed AS total
FROM transactions
WINDOW
  closed AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND INTERVAL '1 minute' PRECEDING);

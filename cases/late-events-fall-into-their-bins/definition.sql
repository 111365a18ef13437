-- A late event goes into its old bin, however late within the horizon.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '2 hours');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n,
  sum(amount) OVER hour AS total
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

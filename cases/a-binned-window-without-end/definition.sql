-- UNBOUNDED over bins: bins for what is young, one partial for all before, and the delayed end
-- still sharp.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER life AS n,
  sum(amount) OVER closed_life AS total_closed
FROM transactions
WINDOW
  life AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 hour', event_time)
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
  closed_life AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 hour', event_time)
    RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '1 hour' PRECEDING);

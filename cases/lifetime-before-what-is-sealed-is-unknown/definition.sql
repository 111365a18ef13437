-- A lifetime partial cannot take events back out: an instant before the newest event that it holds
-- is UNKNOWN, never a number that knows the future.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day', reorder = '10 seconds');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER life AS n
FROM transactions
WINDOW
  life AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

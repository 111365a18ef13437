-- Rows of one instant are ordered by their id, so that a ROWS frame is definite.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  array_agg(amount) OVER two AS last_amounts
FROM transactions
WINDOW
  two AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);

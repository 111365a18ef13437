-- Only the newest rows are kept behind the horizon: a row in the far past whose frame would reach
-- behind them is UNKNOWN, never short.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(amount) OVER two AS last_two,
  lag(amount) OVER past AS last_amount
FROM transactions
WINDOW
  two AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW),
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

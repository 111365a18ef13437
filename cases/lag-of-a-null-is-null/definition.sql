-- The row before counts even where its value is NULL: the answer is NULL_VALUE, not NOT_FOUND and
-- not an older value.
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
  lag(amount) OVER past AS last_amount
FROM transactions
WINDOW
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

-- ROWS counts rows, not time: the two rows before this one and itself, however long ago they were.
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
  sum(amount) OVER three AS total,
  count(*) OVER three AS n,
  min(amount) OVER three AS least
FROM transactions
WINDOW
  three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);

-- ORDER BY the event time alone means the same in a ROWS frame: ties are settled by id, which SQL
-- leaves open.
-- judges: none (the order of ties is not in the SQL)

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
  two AS (PARTITION BY user_id ORDER BY event_time
    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);

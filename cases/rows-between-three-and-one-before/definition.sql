-- A ROWS frame that ends before the row leaves the row itself out.
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
  avg(amount) OVER last_three AS usual,
  count(*) OVER last_three AS n
FROM transactions
WINDOW
  last_three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING);

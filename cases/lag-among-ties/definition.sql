-- Among rows of one instant lag follows the ids.
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
  lag(transaction_id) OVER past AS last_id
FROM transactions
WINDOW
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

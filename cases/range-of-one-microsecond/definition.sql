-- The smallest frame there is: the row, its ties, and what is one microsecond older.
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
  count(*) OVER instant AS n
FROM transactions
WINDOW
  instant AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '0.000001 seconds' PRECEDING AND CURRENT ROW);

-- Text ids identify events, and among ties they are ordered by their bytes: "10" before "9",
-- capitals before small letters.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id VARCHAR PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  array_agg(amount) OVER three AS last_amounts,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- Two windows that name the same columns in another order are the same partition.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER one AS n_one,
  count(*) OVER other AS n_other
FROM transactions
WINDOW
  one AS (PARTITION BY user_id, merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  other AS (PARTITION BY merchant_id, user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

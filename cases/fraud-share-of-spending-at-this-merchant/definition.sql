-- How much of the user's spending of thirty days went to this merchant.
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
  CAST(sum(amount) OVER here AS DOUBLE PRECISION) / nullif(sum(amount) OVER month, 0) AS share
FROM transactions
WINDOW
  here AS (PARTITION BY user_id, merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
  month AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);

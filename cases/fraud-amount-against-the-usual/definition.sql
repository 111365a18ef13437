-- The amount against the user's mean of thirty days, as a ratio and in standard deviations of what
-- came before.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '30 days');

CREATE VIEW v AS
SELECT
  transaction_id,
  amount / nullif(avg(amount) OVER month, 0) AS ratio,
  (amount - avg(amount) OVER before) / nullif(stddev_samp(amount) OVER before, 0) AS deviations
FROM transactions
WINDOW
  month AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

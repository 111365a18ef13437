-- How much of what a user does is done at night: a filter on the hour of the event time.
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
  count(*) FILTER (WHERE extract(hour FROM event_time) < 6) OVER week AS night_n,
  CAST(count(*) FILTER (WHERE extract(hour FROM event_time) < 6) OVER week AS DOUBLE PRECISION)
   / count(*) OVER week AS night_share
FROM transactions
WINDOW
  week AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW);

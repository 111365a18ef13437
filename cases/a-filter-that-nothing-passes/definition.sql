-- The frame holds events but none passes the filter: count 0 is PRESENT, a sum is NULL_VALUE. That
-- is not the same as a frame without events.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  status         VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) FILTER (WHERE status = 'declined') OVER hour AS declines,
  sum(amount) FILTER (WHERE status = 'declined') OVER hour AS declined
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- A delayed window, seven to fourteen days back: labels that are certain only after a week. Both
-- ends are in, to the microsecond.
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
  count(*) OVER settled AS n,
  sum(amount) OVER settled AS total
FROM transactions
WINDOW
  settled AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '14 days' PRECEDING AND INTERVAL '7 days' PRECEDING);

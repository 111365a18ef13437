-- The user is known but did nothing in the hour: NOT_FOUND for that frame, while the day is there.
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
  count(*) OVER before AS n,
  sum(amount) OVER before AS total,
  max(amount) OVER before AS greatest,
  count(*) OVER day AS n_day
FROM transactions
WINDOW
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING),
  day AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

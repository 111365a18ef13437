-- A day is 24 hours, on the 29th of February and when clocks in some country change: times are UTC.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '10 days');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER day AS n
FROM transactions
WINDOW
  day AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

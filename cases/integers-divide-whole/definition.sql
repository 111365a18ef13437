-- Integers divide to integers, towards zero, and % keeps the sign of the left side.
-- judges: postgres (duckdb: / of integers gives a double)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  k / 2 AS half,
  k % 3 AS rest,
  max(k) OVER hour / 2 AS half_of_greatest
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

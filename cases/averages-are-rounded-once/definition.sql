-- avg is the double nearest to the exact mean: of 0.1, 0.2 and 0.3 as doubles, and of 1, 1 and 2.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  x              DOUBLE PRECISION,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  avg(x) OVER hour AS mean_x,
  avg(k) OVER hour AS mean_k,
  sum(x) OVER hour AS sum_x
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- SMALLINT and INTEGER are summed as BIGINT: sums far beyond their own range are no overflow.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  s              SMALLINT,
  i              INTEGER
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(s) OVER hour AS sum_s,
  sum(i) OVER hour AS sum_i,
  max(s) OVER hour AS greatest_s,
  min(i) OVER hour AS least_i,
  avg(s) OVER hour AS mean_s
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

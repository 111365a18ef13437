-- The sum fits, its partial sums would not: the exact sum does not care.
-- judges: none (plain double sums overflow on the way: DuckDB answers an infinity, PostgreSQL an
--   error)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  x              DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(x) OVER hour AS total,
  avg(x) OVER hour AS mean
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

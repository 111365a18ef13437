-- Dividing by zero has no value: the feature is NULL with the status UNKNOWN, and the row's other
-- features are there.
-- judges: none (PostgreSQL answers an error, DuckDB an infinity)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2),
  k              BIGINT,
  x              DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n,
  k / (count(*) OVER hour - 1) AS per_other,
  x / (sum(x) OVER hour) AS share,
  amount / nullif(sum(amount) OVER before, 0) AS guarded
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

-- A decimal sum has 38 digits; one that needs more is UNKNOWN.
-- judges: postgres (duckdb: a sum beyond 38 digits is an error)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(38,0)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(amount) OVER hour AS total,
  avg(amount) OVER hour AS mean
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

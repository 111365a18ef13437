-- Two feature sets of one stream: each has its own columns, the state beneath is shared.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW short_term AS
SELECT
  transaction_id,
  count(*) OVER hour AS n,
  sum(amount) OVER hour AS total
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

CREATE VIEW long_term AS
SELECT
  transaction_id,
  count(*) OVER hour AS n_hour,
  avg(amount) OVER month AS usual
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  month AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);

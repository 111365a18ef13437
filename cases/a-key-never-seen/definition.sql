-- A key that no event ever had gives what SQL gives over an empty frame, count 0 and sum NULL, and
-- says NOT_FOUND.
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
  count(*) OVER hour AS n_with_row
FROM transactions
WINDOW
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING),
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

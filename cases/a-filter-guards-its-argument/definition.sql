-- FILTER goes before the argument: where it does not hold, the argument may have no value, and the
-- event still counts in the other columns.
-- judges: postgres (duckdb: the argument is computed first, and fails)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  parts          BIGINT,
  total          BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(total % parts) FILTER (WHERE parts <> 0) OVER hour AS remainders,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

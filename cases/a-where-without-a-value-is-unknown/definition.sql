-- A row for which WHERE has no value may be in the view or not: all its values are UNKNOWN, and its
-- event is in no window.
-- judges: none (PostgreSQL answers an error, DuckDB an infinity)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n
FROM transactions
WHERE 10 / k > 1
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

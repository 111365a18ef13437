-- The everyday expressions: CASE, coalesce, nullif, IN, BETWEEN and LIKE over rows and windows.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant       VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  CASE WHEN count(*) OVER hour > 2 THEN 'busy'
    WHEN count(*) OVER hour = 2 THEN 'second' ELSE 'first' END AS pace,
  coalesce(sum(amount) OVER before, 0) AS spent_before,
  nullif(count(*) OVER before, 0) AS n_or_null,
  merchant IN ('A', 'B') AS known_merchant,
  amount BETWEEN 1 AND 10 AS usual_size,
  merchant LIKE 'A%' AS on_a
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

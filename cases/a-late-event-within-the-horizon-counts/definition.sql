-- A late event counts however late it came, while some frame of its key can see it.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '30 minutes');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n,
  sum(amount) OVER hour AS total
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- What is aggregated may be computed from the row: quantity times price in cents, a flag turned
-- into a number.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  quantity       BIGINT,
  cents          BIGINT,
  status         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(quantity * cents) OVER hour AS spent,
  avg(CASE WHEN status = 'declined' THEN 1 ELSE 0 END) OVER hour AS decline_rate,
  max(coalesce(cents, 0)) OVER hour AS dearest
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- FILTER takes rows where the condition is true; NULL is not true.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  status         VARCHAR,
  foreign_card   BOOLEAN
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) FILTER (WHERE status = 'declined') OVER hour AS declines,
  count(*) FILTER (WHERE status <> 'declined') OVER hour AS others,
  count(*) FILTER (WHERE foreign_card) OVER hour AS abroad,
  count(*) FILTER (WHERE NOT foreign_card) OVER hour AS at_home,
  count(*) FILTER (WHERE foreign_card IS NULL) OVER hour AS unsaid
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

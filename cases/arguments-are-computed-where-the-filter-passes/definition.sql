-- WHERE goes before the arguments: an event that it leaves out may have no value for them, and is no
-- dead letter.
-- judges: duckdb, postgres

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
  sum(total % parts) OVER hour AS remainders,
  count(*) OVER hour AS n
FROM (SELECT * FROM transactions WHERE parts > 0) AS divided
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

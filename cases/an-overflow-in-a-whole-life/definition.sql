-- A lifetime sum beyond BIGINT is UNKNOWN, and known again when later events bring it back: nothing
-- is lost on the way.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(k) OVER life AS total
FROM transactions
WINDOW
  life AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

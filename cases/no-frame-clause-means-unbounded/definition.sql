-- A window with ORDER BY and no frame is RANGE from UNBOUNDED PRECEDING to CURRENT ROW, as the
-- standard says.
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
  sum(amount) OVER life AS total
FROM transactions
WINDOW
  life AS (PARTITION BY user_id ORDER BY event_time);

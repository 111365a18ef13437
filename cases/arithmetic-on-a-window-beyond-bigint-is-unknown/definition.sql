-- A feature computed from windows that passes the end of BIGINT is UNKNOWN, though the windows
-- themselves are known.
-- judges: none (both databases answer an error for the whole query)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(k) OVER hour AS total,
  sum(k) OVER hour * 10 AS tenfold,
  max(k) OVER hour - min(k) OVER hour AS spread,
  -(min(k) OVER hour) AS turned
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

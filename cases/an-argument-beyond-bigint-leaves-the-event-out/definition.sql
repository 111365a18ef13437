-- An event for which an argument passes the end of BIGINT is in no window of that key; a row that is
-- such an event is UNKNOWN there.
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
  count(*) OVER hour AS n,
  sum(k * k) OVER hour AS squares,
  max(k - 1) OVER hour AS greatest
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

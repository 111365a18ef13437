-- Times are RFC 3339 with any offset, with T or a blank, to the microsecond; a time without a zone
-- is UTC. Finer than a microsecond, a bare number and impossible dates are dead letters.
-- judges: none (decoding is ours)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  min(event_time) OVER hour AS first_time,
  max(event_time) OVER before AS last_time,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

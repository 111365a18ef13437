-- Milliseconds sent to a stream that declares seconds lie in the year 58,000: a dead letter, not a
-- silent future.
-- judges: none (decoding is ours)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day', epoch_unit = 'seconds');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

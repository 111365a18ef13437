-- Integers come as JSON numbers or as texts, whole to the last digit; 7.0 and 1e3 are whole; what
-- is not, or does not fit its type, is a dead letter.
-- judges: none (decoding is ours)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT,
  s              SMALLINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(k) OVER hour AS sum_k,
  max(s) OVER hour AS greatest_s,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

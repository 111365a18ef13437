-- A decimal is read from its text, quoted or not; zeros at the end are no places of their own. More
-- places than its scale, or more digits than its precision, is a dead letter and never rounded in
-- silence.
-- judges: none (decoding is ours)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(6,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(amount) OVER hour AS total,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- Scale 0 and scale 38: a decimal is an exact number of its last place.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  a              DECIMAL(38,0),
  b              DECIMAL(38,38)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  sum(a) OVER hour AS sum_a,
  sum(b) OVER hour AS sum_b,
  max(b) OVER hour AS greatest_b
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- Events that come in any order within the lateness give the answers that they give in order.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '2 hours');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n,
  sum(amount) OVER hour AS total,
  lag(amount) OVER past AS last_amount
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

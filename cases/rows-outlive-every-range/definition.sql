-- The newest rows stay whatever their age, beside windows that are long over.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER hour AS n_hour,
  sum(amount) OVER three AS last_three
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);

-- Booleans, dates and decimals are keys too; a decimal key is its value, not its spelling.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  present        BOOLEAN,
  day            DATE,
  price          DECIMAL(8,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER by_present AS n_present,
  count(*) OVER by_day AS n_day,
  count(*) OVER by_price AS n_price
FROM transactions
WINDOW
  by_present AS (PARTITION BY present ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  by_day AS (PARTITION BY day ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  by_price AS (PARTITION BY price ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

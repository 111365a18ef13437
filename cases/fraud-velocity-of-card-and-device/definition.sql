-- How fast a card and a device are used: a minute and an hour of each, and the amounts.
-- judges: duckdb (postgres: no DISTINCT in windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  card_id        VARCHAR,
  device_id      VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER card_minute AS card_n_minute,
  sum(amount) OVER card_hour AS card_spent_hour,
  count(*) OVER device_minute AS device_n_minute,
  count(DISTINCT card_id) OVER device_hour AS cards_of_device
FROM transactions
WINDOW
  card_minute AS (PARTITION BY card_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW),
  card_hour AS (PARTITION BY card_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  device_minute AS (PARTITION BY device_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW),
  device_hour AS (PARTITION BY device_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

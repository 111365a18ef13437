-- Seconds since the card was last used, fractions and long pauses included: a card used again
-- within a second is a machine.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  card_id        BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  extract(epoch FROM event_time - lag(event_time) OVER past) AS seconds_since_last
FROM transactions
WINDOW
  past AS (PARTITION BY card_id ORDER BY event_time, transaction_id);

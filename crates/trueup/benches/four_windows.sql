-- Two windows a card, exact, and two a merchant, in bins of a minute.
CREATE TABLE events (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT, merchant BIGINT,
  amount DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '1 minute');
CREATE VIEW risk AS SELECT id,
  count(*) OVER card_hour AS n_hour, sum(amount) OVER card_day AS total_day,
  count(*) OVER merchant_hour AS merchant_n, sum(amount) OVER merchant_day AS merchant_total
FROM events WINDOW
  card_hour AS (PARTITION BY card ORDER BY at
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  card_day AS (PARTITION BY card ORDER BY at
               RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  merchant_hour AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
                    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  merchant_day AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
                   RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

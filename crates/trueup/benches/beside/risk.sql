-- What a card did, exact; and the same of an hour in bins of a minute.
CREATE TABLE payments (
  id BIGINT PRIMARY KEY, at TIMESTAMP NOT NULL, card BIGINT NOT NULL, amount DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '1 minute');
CREATE VIEW risk AS SELECT id,
  count(*) OVER hour AS n_hour, sum(amount) OVER hour AS total_hour,
  avg(amount) OVER hour AS mean_hour, min(amount) OVER hour AS least_hour,
  max(amount) OVER hour AS greatest_hour,
  count(*) OVER day AS n_day, sum(amount) OVER day AS total_day, avg(amount) OVER day AS mean_day,
  min(amount) OVER day AS least_day, max(amount) OVER day AS greatest_day
FROM payments WINDOW
  hour AS (PARTITION BY card ORDER BY at
           RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  day AS (PARTITION BY card ORDER BY at
          RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);
CREATE VIEW binned AS SELECT id,
  count(*) OVER hour AS n_hour, sum(amount) OVER hour AS total_hour,
  avg(amount) OVER hour AS mean_hour, max(amount) OVER hour AS greatest_hour
FROM payments WINDOW
  hour AS (PARTITION BY card ORDER BY date_bin(INTERVAL '1 minute', at)
           RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

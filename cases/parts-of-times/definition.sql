-- Hour, day of the week, day, minute, the date and the day's start of an event time, all in UTC.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  extract(hour FROM event_time) AS hour_of_day,
  extract(dow FROM event_time) AS day_of_week,
  extract(day FROM event_time) AS day_of_month,
  extract(minute FROM event_time) AS minute_of_hour,
  date_trunc('day', event_time) AS day_start,
  CAST(event_time AS DATE) AS event_day
FROM transactions;

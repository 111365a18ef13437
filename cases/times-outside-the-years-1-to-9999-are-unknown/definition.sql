-- A time or date computed beyond the years 1 to 9999 has no value: no event could have it.
-- judges: none (both databases go on before the year 1 and after 9999)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  event_time - INTERVAL '1 month' AS month_before,
  event_time + INTERVAL '1 day' AS day_after,
  CAST(event_time - INTERVAL '1 month' AS DATE) AS day_then
FROM transactions;

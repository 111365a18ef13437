-- A subquery that finds the view's own stream by another column: what the receiver has sent. The row
-- itself is among it only where it was sent to its own sender.
-- judges: duckdb, postgres

CREATE TABLE transfers (
  transfer_id BIGINT PRIMARY KEY,
  event_time  TIMESTAMP NOT NULL,
  sender      BIGINT,
  receiver    BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  t.transfer_id,
  (SELECT count(*) FROM transfers AS u
   WHERE u.sender = t.receiver
     AND u.event_time BETWEEN t.event_time - INTERVAL '1 hour' AND t.event_time) AS receiver_sent
FROM transfers AS t;

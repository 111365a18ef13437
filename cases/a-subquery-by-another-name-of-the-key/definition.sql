-- The two streams may call the key differently, and give it another meaning: transfers out to
-- accounts that were paid in from.
-- judges: duckdb, postgres

CREATE TABLE transfers (
  transfer_id BIGINT PRIMARY KEY,
  event_time  TIMESTAMP NOT NULL,
  sender      BIGINT,
  receiver    BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE TABLE reports (
  report_id  BIGINT PRIMARY KEY,
  event_time TIMESTAMP NOT NULL,
  account    BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transfer_id,
  (SELECT count(*) FROM reports
   WHERE reports.account = transfers.sender
     AND reports.event_time <= transfers.event_time) AS reports_of_sender,
  (SELECT count(*) FROM reports
   WHERE reports.account = transfers.receiver
     AND reports.event_time <= transfers.event_time) AS reports_of_receiver
FROM transfers;

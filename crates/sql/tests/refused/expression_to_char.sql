CREATE VIEW v AS
SELECT to_char(event_time, 'HH24') = '03' AS at_night FROM transactions;

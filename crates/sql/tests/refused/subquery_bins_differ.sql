CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.user_id = t.user_id AND date_bin(INTERVAL '1 minute', l.at) <= t.event_time) AS n
FROM transactions t;

CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.user_id = t.user_id AND l.at >= t.event_time - INTERVAL '1 hour') AS n
FROM transactions t;

CREATE VIEW v AS
SELECT (SELECT 1 FROM logins l
        WHERE l.user_id = t.user_id AND l.at <= t.event_time) AS n
FROM transactions t;

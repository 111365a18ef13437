CREATE VIEW v AS
SELECT (SELECT count(*) OVER (ORDER BY at) FROM logins l
        WHERE l.user_id = t.user_id AND l.at <= t.event_time) AS n
FROM transactions t;

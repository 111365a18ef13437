CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.device = t.user_id AND l.at <= t.event_time) AS n
FROM transactions t;

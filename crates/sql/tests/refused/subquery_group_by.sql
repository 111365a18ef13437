CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.user_id = t.user_id AND l.at <= t.event_time GROUP BY device) AS n
FROM transactions t;

CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.user_id = t.user_id AND l.at BETWEEN t.event_time - INTERVAL '1 month' AND t.event_time) AS n
FROM transactions t;

CREATE VIEW v AS
SELECT (SELECT device FROM logins l WHERE l.user_id = t.user_id
        ORDER BY at DESC LIMIT 1) AS n
FROM transactions t;

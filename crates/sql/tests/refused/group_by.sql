CREATE VIEW v AS SELECT user_id, count(*) AS n FROM transactions GROUP BY user_id;

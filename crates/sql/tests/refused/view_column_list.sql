CREATE VIEW v (a) AS SELECT amount FROM transactions;

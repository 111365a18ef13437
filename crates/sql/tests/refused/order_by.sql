CREATE VIEW v AS SELECT amount FROM transactions ORDER BY amount;

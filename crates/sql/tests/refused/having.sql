CREATE VIEW v AS SELECT amount FROM transactions HAVING amount > 1;

CREATE VIEW a AS SELECT amount FROM transactions;
CREATE VIEW b AS SELECT amount FROM a;

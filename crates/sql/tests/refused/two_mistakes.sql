CREATE VIEW a AS SELECT amuont FROM transactions;
CREATE VIEW b AS SELECT amount FROM transaction;

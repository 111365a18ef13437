CREATE VIEW logins AS SELECT amount FROM transactions;

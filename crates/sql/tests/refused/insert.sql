INSERT INTO transactions VALUES (1);

"""What finished runs say: curves of one, a table and a picture of many."""

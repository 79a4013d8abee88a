"""A study of the user's own, drafted from a table: which columns, which recipe, and the file with its comments."""

"""One module per version of the schema, in order. What is released is never edited."""

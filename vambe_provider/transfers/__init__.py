"""Tasks that turn rows of a database into Vambe tickets."""

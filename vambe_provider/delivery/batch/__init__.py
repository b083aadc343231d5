"""Many tickets: one loop owns the life of each, from the row to the settled attempt."""

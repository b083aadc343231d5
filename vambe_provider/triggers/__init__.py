"""Waits that take no worker slot, and changes in Vambe that start a Dag."""

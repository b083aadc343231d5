"""Wait for what becomes of a ticket."""

"""From a row to a request."""

"""Links from a task to Vambe's web app."""

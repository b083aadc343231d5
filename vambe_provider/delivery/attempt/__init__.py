"""One attempt at one ticket: post it once, and find out by reading what became of a post without an answer."""

"""What `make bench` measures: each program here runs in a fresh process and prints one line of JSON."""

"""Waiting for what becomes of a ticket: what counts as an answer, and how to look for it cheaply. No Airflow."""

"""Exactly-once delivery: one ticket or a million, whatever crashes in between. Knows nothing of Airflow."""

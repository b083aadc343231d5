"""Notifiers, which Airflow calls when something has happened."""

"""Talk to Vambe, and to the databases around it, through Airflow connections."""

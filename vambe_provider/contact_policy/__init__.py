"""May this person be contacted now, and at which number? Neither Airflow nor HTTP."""

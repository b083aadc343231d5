"""What a triggerer pays for waits, next to the same waits on the sensor of the http provider."""

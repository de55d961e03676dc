"""Jobs on volumes: several maps of a patient into one decision."""

"""Volumes: MRI maps of a patient, one file or DICOM series each, turned to the patient's axes."""

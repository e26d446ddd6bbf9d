"""The report page: one HTML file about the records of a suite, made of sections."""

"""Reports: values, text, HTML."""

"""Records results outside the run folder: in MLflow or nowhere, directly or from a background thread."""

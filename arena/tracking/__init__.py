"""Where results go besides the disk: nowhere, or to MLflow, with or without a thread in between."""

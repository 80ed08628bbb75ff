"""What test images say of a detector: metrics, results, the report. Nothing here changes a detector."""

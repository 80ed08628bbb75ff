"""What test images say of a detector: metrics, measurements, the report. Nothing here changes a detector."""

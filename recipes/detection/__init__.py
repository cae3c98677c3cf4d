"""Detection: SSD-MobileNetV2 with published weights, from photos to proved integers to boxes and scores."""

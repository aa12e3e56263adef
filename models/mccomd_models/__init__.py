"""Making models: weights from elsewhere or from training -> a folder that mccomd.engine reads."""

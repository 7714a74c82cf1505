"""What is measured: models on devices, processes and servers."""

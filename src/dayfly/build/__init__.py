"""From source to package: what is handed over is unpacked, checked, its dependencies installed, and described as an Artifact."""

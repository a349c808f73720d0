"""What lets a run outlive its process: its state on disk, who holds it, and how it ends."""

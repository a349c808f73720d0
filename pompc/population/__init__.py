"""Many agents as one program on the devices at hand."""

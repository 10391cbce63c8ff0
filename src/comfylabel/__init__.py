"""ComfyUI Data Label: from a ComfyUI workflow to human preference data."""

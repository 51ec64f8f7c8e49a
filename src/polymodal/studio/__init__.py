"""Pages to look at data, train, generate, fill and score in a browser on this machine (``polymodal studio``)."""

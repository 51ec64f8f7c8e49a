"""The command line: thin shells around ``polymodal.api``."""

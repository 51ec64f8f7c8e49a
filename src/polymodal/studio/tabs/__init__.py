"""The tabs of the page, one in each file."""

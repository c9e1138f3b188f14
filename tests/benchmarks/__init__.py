"""Side-by-side measurements of Landbridge and its peers: `make bench`. Nothing here is a test."""

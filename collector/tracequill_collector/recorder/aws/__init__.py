"""What AWS's services share: errors, binary event streams, and calls of no other module."""

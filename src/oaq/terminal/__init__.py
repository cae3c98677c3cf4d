"""What is printed: lines, tables, JSON documents and progress."""

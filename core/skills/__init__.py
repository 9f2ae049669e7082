"""What bots can do: requests to other programs, searches, and verbs of our own."""

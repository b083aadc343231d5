"""How fast a sender may go, and when it has to rest."""

"""Four ladders of evidence: closed forms, one engine against the other, peers' figures, and measured systems."""

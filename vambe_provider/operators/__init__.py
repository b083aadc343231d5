"""Tasks that open Vambe tickets."""

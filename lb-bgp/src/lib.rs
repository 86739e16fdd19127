//! Announce-only BGP-4 speaker, sans-IO.

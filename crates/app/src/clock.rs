//! Time and randomness: the only place that reads a clock or a random source. Everything else is handed both.

//! Recorded observations and what is said of them.

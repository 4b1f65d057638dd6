//! HTTP in process.

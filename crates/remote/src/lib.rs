//! Talks to other servers.

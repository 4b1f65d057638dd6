//! A filter over key digests.

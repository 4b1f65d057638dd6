//! One file per thing a caller may do. Each function authorises, checks the ask field by field, and hands one command to
//! the engine or one question to the readers.

pub mod api_key;
pub mod catalogue;
pub mod debit;
pub mod grant;
pub mod hold;
pub mod transfer;
pub mod wallet;

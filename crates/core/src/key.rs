//! The product's own names for tenants, users, pools, units and actions.

use std::fmt;
use std::sync::Arc;

/// The longest key, in bytes.
pub const KEY_MAX: usize = 128;

/// A name chosen by the product: 1-128 printable ASCII characters except space `/ \ ? # % " < >`, case-sensitive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks and takes a key; `None` when it is empty, too long or has a character that keys exclude.
    pub fn parse(text: &str) -> Option<Key> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !br#"/\?#%"<>"#.contains(&byte);
        let good = (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(allowed);
        good.then(|| Key(text.into()))
    }

    /// The key as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printable_and_fit_into_a_path() {
        for good in ["a", "user:42@example.com", "!", &"x".repeat(128)] {
            assert_eq!(Key::parse(good).expect("a good key").as_str(), good);
        }
        for bad in [
            "",
            " ",
            "a b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%b",
            "a\"b",
            "<",
            ">",
            "é",
            "\u{7f}",
            &"x".repeat(129),
        ] {
            assert!(Key::parse(bad).is_none(), "{bad:?} was taken");
        }
    }
}

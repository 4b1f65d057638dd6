//! Tokens that only this deployment can make: what quotes and links carry, in the open, with a keyed digest behind it.
//!
//! A token is made with the newest secret key and accepted under any, so a key can be replaced while tokens are about.
//! What a token says is for `quote.rs` and `link.rs`; who reads one learns what is in it, so it holds no secrets. What nobody
//! is to learn is concealed: the same token, with its content encrypted.

use crate::secret::Secrets;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use subtle::{Choice, ConstantTimeEq};

/// The longest token that is looked at, in bytes.
const TOKEN_MAX: usize = 8_192;
/// Bytes of the digest.
const SEAL: usize = 32;
/// Bytes that make each concealed token another one: so many that chance never gives the same twice.
const NONCE: usize = 24;

impl Secrets {
    /// A token of this purpose.
    pub(crate) fn seal(&self, purpose: &str, content: &[u8]) -> String {
        let key = self.derive(purpose).next().expect("there is at least one key");
        let mut bytes = content.to_vec();
        bytes.extend_from_slice(blake3::keyed_hash(&key, content).as_bytes());
        encode(&bytes)
    }

    /// What a token of this purpose carries; none when it is not one of ours, exactly as it was made.
    pub(crate) fn open(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let mut content = decode(token)?;
        let seal = content.split_off(content.len().checked_sub(SEAL)?);
        // Every key is tried, and each compared to the end.
        let sealed = |key: [u8; 32]| blake3::keyed_hash(&key, &content).as_bytes().ct_eq(&seal);
        let ours = self.derive(purpose).map(sealed).fold(Choice::from(0), |ours, one| ours | one);
        bool::from(ours).then_some(content)
    }

    /// A token of this purpose of which nobody else learns more than how long it is. The nonce is used once.
    pub(crate) fn conceal(&self, purpose: &str, nonce: [u8; NONCE], content: &[u8]) -> String {
        let key = self.derive(&concealing(purpose)).next().expect("there is at least one key");
        let concealed = XChaCha20Poly1305::new(&key.into()).encrypt(&nonce.into(), content);
        encode(&[&nonce[..], &concealed.expect("a token is far shorter than what a key conceals")].concat())
    }

    /// What a concealed token of this purpose carries; none when it is not one of ours.
    pub(crate) fn reveal(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let bytes = decode(token)?;
        let (nonce, concealed) = bytes.split_first_chunk::<NONCE>()?;
        self.derive(&concealing(purpose))
            .find_map(|key| XChaCha20Poly1305::new(&key.into()).decrypt(&(*nonce).into(), concealed).ok())
    }
}

/// The purpose of a key that conceals, which is never one that seals.
fn concealing(purpose: &str) -> String {
    format!("{purpose} concealed")
}

/// Base64 for URLs, without padding.
fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of such a text; none when it is not what [`encode`] makes, so that each token has one text.
fn decode(text: &str) -> Option<Vec<u8>> {
    (text.len() <= TOKEN_MAX).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()
}

/// Writes what a token carries.
#[derive(Default)]
pub(crate) struct Content(Vec<u8>);

impl Content {
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Content {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Text or bytes behind their length. The callers' limits keep it far below what two bytes count.
    pub(crate) fn part(mut self, bytes: &[u8]) -> Content {
        let length = u16::try_from(bytes.len()).expect("every part of a token is bounded");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// The same where there may be none.
    pub(crate) fn option(self, bytes: Option<&[u8]>) -> Content {
        match bytes {
            None => self.fixed(&[0]),
            Some(bytes) => self.fixed(&[1]).part(bytes),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads it back, in the same order.
pub(crate) struct Parts<'a>(pub(crate) &'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn part(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.fixed()?);
        self.take(length.into())
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.part()?).ok().map(str::to_string)
    }

    pub(crate) fn text_option(&mut self) -> Option<Option<String>> {
        match self.fixed::<1>()? {
            [0] => Some(None),
            [1] => self.text().map(Some),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandom;

    fn secrets(seeds: &[u64]) -> Secrets {
        let all = seeds.iter().map(|seed| Secrets::passing(&SeededRandom::new(*seed)));
        all.reduce(Secrets::joined).expect("at least one")
    }

    #[test]
    fn a_token_with_any_bit_changed_is_none_of_ours() {
        let secrets = secrets(&[1]);
        let token = secrets.seal("test", b"five credits");
        assert_eq!(secrets.open("test", &token).as_deref(), Some(&b"five credits"[..]));
        let bytes = decode(&token).expect("a token");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(secrets.open("test", &encode(&changed)), None, "bit {bit}");
        }
        for length in 0..token.len() {
            assert_eq!(secrets.open("test", &token[..length]), None, "{length} characters");
        }
        assert_eq!(secrets.open("other", &token), None);
        assert_eq!(secrets.open("test", &format!("{token}A")), None);
    }

    #[test]
    fn a_key_is_replaced_while_tokens_are_about() {
        let (old, both, new) = (secrets(&[1]), secrets(&[2, 1]), secrets(&[2]));
        let token = old.seal("test", b"x");
        assert!(both.open("test", &token).is_some());
        assert!(new.open("test", &token).is_none());
        assert!(new.open("test", &both.seal("test", b"x")).is_some());
    }

    #[test]
    fn what_is_concealed_shows_nothing_and_comes_back_under_the_keys_it_may() {
        let (old, both, new) = (secrets(&[1]), secrets(&[2, 1]), secrets(&[2]));
        let content =
            b"a head that nobody is to see, longer than one block of the stream is: 0123456789abcdef";
        let tokens: Vec<String> = (0..2).map(|nonce| old.conceal("test", [nonce; NONCE], content)).collect();
        let bytes: Vec<Vec<u8>> = tokens.iter().map(|token| decode(token).expect("a token")).collect();
        for bytes in &bytes {
            assert!(bytes.windows(4).all(|seen| !content.windows(4).any(|said| said == seen)));
        }
        // What two of the same content have in common by chance only.
        assert!(bytes[0].windows(4).all(|one| !bytes[1].windows(4).any(|other| one == other)));
        for token in &tokens {
            assert_eq!(old.reveal("test", token).as_deref(), Some(&content[..]));
            assert_eq!(both.reveal("test", token).as_deref(), Some(&content[..]));
            assert_eq!((new.reveal("test", token), old.reveal("other", token)), (None, None));
        }
        assert_eq!(old.reveal("test", &old.seal("test", b"too short")), None);
    }

    #[test]
    fn every_length_comes_back_from_its_one_text() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
        // The last digit carries bits that mean nothing: they have to be zero.
        assert_eq!((encode(&[0]).as_str(), decode("AB")), ("AA", None));
    }
}

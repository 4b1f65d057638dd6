//! Structs from JSON objects alone.
//!
//! Serde's derived structs also take an array of their fields in order, so `["ann", "scan"]` would pass for a debit
//! whose meaning changes with the next field. Bodies are read through [`read`], and structs inside them are wrapped
//! in [`Strict`]; both refuse arrays as what they are, a value of the wrong type.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// A struct inside a body. The API document describes the struct itself (`value_type`).
#[derive(Clone, Debug)]
pub struct Strict<T>(pub T);

/// Reads a struct from an object.
pub fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(ObjectOnly(deserializer))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict<T>, D::Error> {
        read(deserializer).map(Strict)
    }
}

/// Asks for a map where a struct is asked for, and for nothing else.
struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

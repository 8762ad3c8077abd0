//! serde's side of the canonical encoder: which CBOR item each kind of value becomes.
//!
//! Values describe themselves in their human-readable form, as they do to the JSON of the request: what differs on
//! the wire differs in the key.

use half::f16;
use serde::{Serialize, Serializer, ser};

use super::{
    encoder::{ARRAY, Done, FALSE, MAP, NEGATIVE, NoKey, TRUE, UNSIGNED, Unkeyable},
    writer::{Container, Place, Writer},
};

const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;

/// How `serde_json`'s `RawValue` calls itself, and its numbers where they have any precision. In a request they are the JSON
/// they hold, and a map that looks like one is a map.
const RAW_JSON: &str = "$serde_json::private::RawValue";
const RAW_NUMBER: &str = "$serde_json::private::Number";

impl<'a, P: Place> Serializer for Writer<'a, P> {
    type Ok = ();
    type Error = NoKey;
    type SerializeSeq = Container<'a>;
    type SerializeTuple = Container<'a>;
    type SerializeTupleStruct = Container<'a>;
    type SerializeTupleVariant = Container<'a>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Container<'a>;

    #[inline]
    fn serialize_bool(self, v: bool) -> Done {
        self.scalar()?.key.bytes.push(if v { TRUE } else { FALSE });
        Ok(())
    }

    #[inline]
    fn serialize_i64(self, v: i64) -> Done {
        let encoder = self.scalar()?;
        match u64::try_from(v) {
            Ok(v) => encoder.head(UNSIGNED, v),
            Err(_) => encoder.head(NEGATIVE, !v as u64),
        }
        Ok(())
    }

    #[inline]
    fn serialize_u64(self, v: u64) -> Done {
        self.scalar()?.head(UNSIGNED, v);
        Ok(())
    }

    fn serialize_i128(self, v: i128) -> Done {
        let encoder = self.scalar()?;
        let magnitude = if v < 0 { !v } else { v } as u128;
        match (u64::try_from(magnitude), v < 0) {
            (Ok(magnitude), false) => encoder.head(UNSIGNED, magnitude),
            (Ok(magnitude), true) => encoder.head(NEGATIVE, magnitude),
            (Err(_), false) => encoder.big(2, magnitude),
            (Err(_), true) => encoder.big(3, magnitude),
        }
        Ok(())
    }

    fn serialize_u128(self, v: u128) -> Done {
        let encoder = self.scalar()?;
        match u64::try_from(v) {
            Ok(v) => encoder.head(UNSIGNED, v),
            Err(_) => encoder.big(2, v),
        }
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, v: i8) -> Done {
        self.serialize_i64(v.into())
    }

    #[inline]
    fn serialize_i16(self, v: i16) -> Done {
        self.serialize_i64(v.into())
    }

    #[inline]
    fn serialize_i32(self, v: i32) -> Done {
        self.serialize_i64(v.into())
    }

    #[inline]
    fn serialize_u8(self, v: u8) -> Done {
        self.serialize_u64(v.into())
    }

    #[inline]
    fn serialize_u16(self, v: u16) -> Done {
        self.serialize_u64(v.into())
    }

    #[inline]
    fn serialize_u32(self, v: u32) -> Done {
        self.serialize_u64(v.into())
    }

    /// As JSON writes it: `0.1f32` goes out as `0.1`, not as the digits of the double next to it.
    fn serialize_f32(self, v: f32) -> Done {
        self.serialize_f64(v.to_string().parse().unwrap_or(v.into()))
    }

    #[inline]
    fn serialize_f64(self, v: f64) -> Done {
        if !v.is_finite() {
            return Err(Unkeyable::NotFinite.into());
        }
        let bytes = &mut self.scalar()?.key.bytes;
        let (single, half) = (v as f32, f16::from_f64(v));
        if f64::from(half).to_bits() == v.to_bits() {
            bytes.push(HALF);
            bytes.extend_from_slice(&half.to_be_bytes());
        } else if f64::from(single).to_bits() == v.to_bits() {
            bytes.push(SINGLE);
            bytes.extend_from_slice(&single.to_be_bytes());
        } else {
            bytes.push(DOUBLE);
            bytes.extend_from_slice(&v.to_be_bytes());
        }
        Ok(())
    }

    fn serialize_char(self, v: char) -> Done {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Done {
        let encoder = self.scalar()?;
        encoder.room_for(v.len())?;
        encoder.text(v);
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Done {
        let encoder = self.scalar()?;
        encoder.room_for(v.len())?;
        encoder.byte_string(v);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self.deeper()?)
    }

    #[inline]
    fn serialize_unit(self) -> Done {
        self.unit();
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        self.serialize_some(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        value.serialize(self.variant(variant)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Container<'a>, NoKey> {
        self.container(ARRAY, len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Container<'a>, NoKey> {
        self.container(ARRAY, Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Container<'a>, NoKey> {
        self.container(ARRAY, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'a>, NoKey> {
        self.variant(variant)?.container(ARRAY, Some(len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Container<'a>, NoKey> {
        self.container(MAP, len)
    }

    #[inline]
    fn serialize_struct(mut self, name: &'static str, len: usize) -> Result<Container<'a>, NoKey> {
        if name == RAW_JSON || name == RAW_NUMBER {
            self.embedded_json();
        }
        self.container(MAP, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'a>, NoKey> {
        self.variant(variant)?.container(MAP, Some(len))
    }
}

macro_rules! compound {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Container<'_> {
            type Ok = ();
            type Error = NoKey;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.item(value)
            }

            #[inline]
            fn end(self) -> Done {
                self.finish()
            }
        }
    )*};
    ($($trait:ident { $key:ident, $value:ident }),*) => {$(
        impl ser::$trait for Container<'_> {
            type Ok = ();
            type Error = NoKey;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, $key: &'static str, $value: &T) -> Done {
                self.name($key);
                self.value($value)
            }

            #[inline]
            fn end(self) -> Done {
                self.finish()
            }
        }
    )*};
}

compound!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);
compound!(
    SerializeStruct { key, value },
    SerializeStructVariant { key, value }
);

impl ser::SerializeMap for Container<'_> {
    type Ok = ();
    type Error = NoKey;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.value(value)
    }

    #[inline]
    fn end(self) -> Done {
        self.finish()
    }
}

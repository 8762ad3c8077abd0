//! Floats that JSON can't carry, looked for in arguments without a key: its writer puts `null` in their place.

use serde::{Serialize, Serializer, ser};

use super::{NoKey, Unkeyable};
use crate::args::Args;

type Done = Result<(), NoKey>;

/// Fails if there is a NaN or an infinity somewhere in the arguments, however deep or large they are.
pub(crate) fn check<P: Serialize, K: Serialize>(args: &Args<P, K>) -> Result<(), Unkeyable> {
    args.positional.serialize(Finite)?;
    Ok(args.keyword.serialize(Finite)?)
}

/// Writes nothing.
struct Finite;

macro_rules! harmless {
    ($($method:ident($type:ty)),*) => {$(
        fn $method(self, _: $type) -> Done {
            Ok(())
        }
    )*};
}

macro_rules! containers {
    ($($method:ident($($argument:ty),*)),*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<Self, NoKey> {
            Ok(self)
        }
    )*};
}

impl Serializer for Finite {
    type Ok = ();
    type Error = NoKey;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    harmless!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    containers!(
        serialize_seq(Option<usize>),
        serialize_tuple(usize),
        serialize_tuple_struct(&'static str, usize),
        serialize_tuple_variant(&'static str, u32, &'static str, usize),
        serialize_map(Option<usize>),
        serialize_struct(&'static str, usize),
        serialize_struct_variant(&'static str, u32, &'static str, usize)
    );

    fn serialize_f32(self, v: f32) -> Done {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Done {
        if v.is_finite() {
            Ok(())
        } else {
            Err(Unkeyable::NotFinite.into())
        }
    }

    fn serialize_none(self) -> Done {
        Ok(())
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        value.serialize(self)
    }
}

macro_rules! items {
    ($($trait:ident: $($method:ident($($name:ty)?)),*;)*) => {$(
        impl ser::$trait for Finite {
            type Ok = ();
            type Error = NoKey;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Done {
                value.serialize(Self)
            })*

            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

items!(
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
);

//! What of the context is part of a key: by whom, and in which language, an answer was asked for.

use std::sync::Arc;

use serde::Serialize;

use super::{
    encoder::{Encoder, MAP, Unkeyable},
    writer::{Within, Writer},
};
use crate::{context, context::Context};

/// Which of the context's keys tell callers apart.
#[derive(Debug, Clone, Default)]
pub(crate) enum Vary {
    /// The user id, else the auth token; the language; every other key. Call ids, user agent and trace context do not.
    #[default]
    Identity,
    /// These and no others.
    On(Arc<[String]>),
}

impl Vary {
    pub(crate) fn on(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::On(names.into_iter().map(Into::into).collect())
    }

    fn takes(&self, name: &str, context: &Context) -> bool {
        let has_user = || context.get(context::USER_ID).is_some_and(|id| !id.is_null());
        match self {
            Self::Identity if name == context::AUTH_TOKEN => !has_user(),
            Self::Identity => !context::NOT_IDENTITY.contains(&name),
            Self::On(names) => names.iter().any(|own| own == name),
        }
    }

    /// Writes what of `context` is part of the key.
    pub(super) fn write(&self, context: &Context, encoder: &mut Encoder) -> Result<(), Unkeyable> {
        let mut map = Writer::<Within>::new(encoder).container(MAP, None)?;
        for (name, value) in context
            .iter()
            .filter(|(name, value)| !value.is_null() && self.takes(name, context))
        {
            map.key(name)?;
            if name == context::AUTH_TOKEN {
                map.value(&Digest::of(value)?)?
            } else {
                map.value(value)?
            }
        }
        Ok(map.finish()?)
    }
}

/// A token's digest, so that keys hold no token.
struct Digest([u8; 32]);

impl Digest {
    fn of(value: &serde_json::Value) -> Result<Self, Unkeyable> {
        let mut encoder = Encoder::new();
        value.serialize(Writer::<Within>::new(&mut encoder))?;
        Ok(Self(blake3::derive_key(
            "nameko-cachetools 2026-11-23 auth token v1",
            &encoder.key.bytes,
        )))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

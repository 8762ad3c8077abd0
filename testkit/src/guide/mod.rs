//! The guide: what does not fit into the reference of one type. Every example in it is run as a test.
//!
//! | page | answers |
//! |---|---|
//! | [Which calls](rules) | How do I say which calls a rule is for? Which of several rules answers? |
//! | [Faults](faults) | What can go wrong, what does a caller see of it, and which bug does it find? |
//! | [What came, and what was missing](verification) | Why did my test fail? How do I assert what was asked? |
//! | `on_a_port` (feature `wire`) | How do real clients and services talk to it? What can break on the wire? |
//! | [Cookbook](cookbook) | Ten situations, each a whole test to copy. |
//!
//! Recordings have their page at [`cassette`](crate::cassette), seeded exploration at [`explore`](mod@crate::explore).

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("faults.md")]
pub mod faults {}

#[doc = include_str!("verification.md")]
pub mod verification {}

#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[cfg(feature = "wire")]
#[doc = include_str!("on_a_port.md")]
pub mod on_a_port {}

//! The guide: what does not fit into the reference of one type. Every Rust example in it is run as a test.
//!
//! | page | answers |
//! |---|---|
//! | [Choosing a strategy](strategies) | Which proxy, which limits, which methods? What can one call ask for? |
//! | [What the cache does in every state](states) | Who answers now, what does an entry become, how do I see it? |
//! | [Invalidation](invalidation) | How do I say that an answer is no longer true? What does that reach? |
//! | [Errors](errors) | What may I conclude from this error, and what do I do? |
//! | [In production](production) | What do I limit, probe, measure, and am I woken by? |
//! | [Testing](testing) | How do I test my service's behaviour in an outage, in milliseconds? |
//! | [Coming from Python](from_python) | What is different from nameko-cachetools, and why? |
//! | [Values](values) | How do decimals, dates, big integers and NaN get across? |
//! | [The wire](wire) | What exactly is sent, and which replies are understood? |
//! | [Your own store](own_store) | How do I keep entries elsewhere? |
//! | [Choosing a transport](choosing_a_transport) | lapin or amqprs? What differs, in figures and in faults? |
//! | [Your own transport](own_transport) | How do I wrap the connection, or replace it? |

#[doc = include_str!("strategies.md")]
pub mod strategies {}

#[doc = include_str!("states.md")]
pub mod states {}

#[doc = include_str!("invalidation.md")]
pub mod invalidation {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("production.md")]
pub mod production {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("from_python.md")]
pub mod from_python {}

#[doc = include_str!("values.md")]
pub mod values {}

#[doc = include_str!("wire.md")]
pub mod wire {}

#[doc = include_str!("own_store.md")]
pub mod own_store {}

#[doc = include_str!("choosing_a_transport.md")]
pub mod choosing_a_transport {}

#[doc = include_str!("own_transport.md")]
pub mod own_transport {}

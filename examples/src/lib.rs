//! Runs every Rust block of the README and of the guide as a test.
//!
//! They are written for readers who use several crates of this workspace. The guide is part of `nameko-cachetools`,
//! which may not depend on the others, so its pages are run here: `cargo test --doc -p nameko-cachetools-examples`.
#![forbid(unsafe_code)]

/// One module per page, so that a failing block is named after its page.
#[cfg(doctest)]
macro_rules! pages {
    ($($page:ident: $path:literal),* $(,)?) => {$(
        #[doc = include_str!($path)]
        mod $page {}
    )*};
}

#[cfg(doctest)]
pages! {
    choosing_a_transport: "../../core/src/guide/choosing_a_transport.md",
    errors: "../../core/src/guide/errors.md",
    from_python: "../../core/src/guide/from_python.md",
    invalidation: "../../core/src/guide/invalidation.md",
    own_store: "../../core/src/guide/own_store.md",
    own_transport: "../../core/src/guide/own_transport.md",
    production: "../../core/src/guide/production.md",
    readme: "../../README.md",
    states: "../../core/src/guide/states.md",
    strategies: "../../core/src/guide/strategies.md",
    testing: "../../core/src/guide/testing.md",
    values: "../../core/src/guide/values.md",
    wire: "../../core/src/guide/wire.md",
}

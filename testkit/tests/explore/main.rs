//! Scenarios by seeds, and the machine against the library.

mod machine;
mod scenarios;

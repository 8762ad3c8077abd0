//! Scenarios by seeds.

mod scenarios;

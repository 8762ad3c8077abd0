//! What the benches ask for and get: a product of a shop.

use serde::{Deserialize, Serialize};

/// A reply of about 100 bytes.
pub const PRODUCT: &str =
    r#"{"id": "the_odyssey", "title": "The Odyssey", "price": 12.5, "stock": 7, "tags": ["a", "b"]}"#;

/// [`PRODUCT`], decoded.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain data")]
pub struct Product {
    pub id: String,
    pub title: String,
    pub price: f64,
    pub stock: u32,
    pub tags: Vec<String>,
}

/// Arguments of six fields.
#[derive(Serialize, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "plain data")]
pub struct Search {
    pub shop: u32,
    pub currency: &'static str,
    pub in_stock: bool,
    pub page: u32,
    pub order: &'static str,
    pub limit: u64,
}

impl Search {
    /// One of many.
    pub const fn page(n: u64) -> Self {
        Self {
            shop: 3,
            currency: "EUR",
            in_stock: true,
            page: 1,
            order: "title",
            limit: n,
        }
    }
}

/// A reply of 215 bytes.
pub const BOOK: &str = concat!(
    r#"{"id": "the_odyssey", "title": "The Odyssey", "authors": ["Homer"], "price": 12.5, "stock": 7, "#,
    r#""publisher": "Penguin", "isbn": "9780140268867", "pages": 541, "language": "en", "in_print": true, "#,
    r#""tags": ["a", "bcd"]}"#
);

/// [`BOOK`], decoded.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain data")]
pub struct Book {
    pub id: String,
    pub title: String,
    pub authors: Vec<String>,
    pub price: f64,
    pub stock: u32,
    pub publisher: String,
    pub isbn: String,
    pub pages: u32,
    pub language: String,
    pub in_print: bool,
    pub tags: Vec<String>,
}

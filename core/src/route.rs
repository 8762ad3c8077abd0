//! The two names that say where a call goes, checked before anything is sent.

use std::{fmt, sync::Arc};

/// Longest routing key AMQP can carry (a short string, AMQP 0-9-1 section 4.2.5.3): `service.method` in bytes.
pub const MAX_ROUTE_BYTES: usize = 255;

/// Longest service name, in bytes.
pub const MAX_SERVICE_BYTES: usize = 200;

/// A validated `service.method`, the address of every call. Cloning is two reference counts.
///
/// nameko binds a service's queue to `{service}.*`, where `*` is exactly one word. A method name with a dot is
/// therefore unroutable, and names with control characters or trailing dots reach services under names they do not
/// have. Such names are refused here.
///
/// # Limits
/// The service has 1 to 200 bytes of `A-Z a-z 0-9 _ . -` without empty words; the method is an identifier
/// (`[A-Za-z_][A-Za-z0-9_]*`); both and the dot have at most 255 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    service: Arc<str>,
    method: Arc<str>,
}

impl Route {
    /// Checks both names.
    ///
    /// # Errors
    /// [`InvalidRoute`] names the rule that was broken.
    ///
    /// ```
    /// use nameko_cachetools::Route;
    /// assert_eq!(Route::new("products", "get").unwrap().to_string(), "products.get");
    /// assert!(Route::new("products", "get.all").is_err());
    /// ```
    pub fn new(service: impl Into<Arc<str>>, method: impl Into<Arc<str>>) -> Result<Self, InvalidRoute> {
        let (service, method) = (service.into(), method.into());
        let rule = broken_service_rule(&service).or_else(|| broken_method_rule(&service, &method));
        match rule {
            None => Ok(Self { service, method }),
            Some(rule) => Err(InvalidRoute {
                service: shown(&service),
                method: shown(&method),
                rule,
            }),
        }
    }

    /// The service's name, e.g. `products`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The method's name, e.g. `get`.
    pub fn method(&self) -> &str {
        &self.method
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.method)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({self})")
    }
}

/// A service or method name that nameko could not route. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no nameko service can be reached as \"{service}\".\"{method}\": {rule}; nothing was sent")]
pub struct InvalidRoute {
    service: String,
    method: String,
    rule: &'static str,
}

pub(crate) fn broken_service_rule(service: &str) -> Option<&'static str> {
    if service.is_empty() || service.len() > MAX_SERVICE_BYTES {
        return Some("a service name has 1 to 200 bytes");
    }
    if !service
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Some("a service name has only letters, digits, `_`, `.` and `-`");
    }
    if service.split('.').any(str::is_empty) {
        return Some("a service name has no empty word between dots");
    }
    None
}

fn broken_method_rule(service: &str, method: &str) -> Option<&'static str> {
    let mut bytes = method.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Some("a method name is an identifier: letters, digits and `_`, no dot");
    }
    if service.len() + 1 + method.len() > MAX_ROUTE_BYTES {
        return Some("service and method together have at most 255 bytes");
    }
    None
}

/// A name as it may stand in a message: escaped, and cut where it is absurd.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: T13, R20.
    #[test]
    fn what_nameko_cannot_route_is_refused() {
        for (service, method) in [
            ("", "m"),
            ("a..b", "m"),
            (".a", "m"),
            ("a.", "m"),
            ("a*", "m"),
            ("a b", "m"),
            ("a\n", "m"),
            ("a#", "m"),
            ("s", ""),
            ("s", "a.b"),
            ("s", "*"),
            ("s", "1a"),
            ("s", "a\n"),
            ("s", "é"),
        ] {
            assert!(Route::new(service, method).is_err(), "{service:?}.{method:?}");
        }
        assert!(Route::new("x".repeat(201), "m").is_err());
        assert!(Route::new("x".repeat(200), "m".repeat(55)).is_err());
    }

    /// Proves: T13, R20.
    #[test]
    fn limits_are_inclusive_and_dotted_services_are_fine() {
        assert!(Route::new("x".repeat(200), "m".repeat(54)).is_ok());
        assert!(Route::new("team.products-v2", "_get1").is_ok());
    }

    #[test]
    fn the_error_escapes_and_cuts_the_names() {
        let error = Route::new("a\n\u{1b}", "m".repeat(500)).unwrap_err().to_string();
        assert!(!error.contains('\n') && !error.contains('\u{1b}'), "{error}");
        assert!(error.len() < 300);
    }
}

//! Which routes a rule, a push or a question is about.

use std::{fmt, str::FromStr};

use nameko_cachetools::Route;

/// One route, or all that a pattern covers: `products.*`, `*.get`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    One(Route),
    /// `None` is any.
    Any {
        service: Option<String>,
        method: Option<String>,
    },
}

impl Target {
    pub(crate) fn covers(&self, route: &Route) -> bool {
        match self {
            Self::One(one) => one == route,
            Self::Any { .. } => self.takes_service(route.service()) && self.takes_method(route.method()),
        }
    }

    /// Whether some route is covered by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(route), other) | (other, Self::One(route)) => other.covers(route),
            (
                Self::Any { service, method },
                Self::Any {
                    service: others_service,
                    method: others_method,
                },
            ) => may_be_same(service, others_service) && may_be_same(method, others_method),
        }
    }

    /// Whether any method of `service` is covered.
    pub(crate) fn takes_service(&self, service: &str) -> bool {
        match self {
            Self::One(one) => one.service() == service,
            Self::Any { service: any, .. } => any.as_ref().is_none_or(|own| own == service),
        }
    }

    fn takes_method(&self, method: &str) -> bool {
        match self {
            Self::One(one) => one.method() == method,
            Self::Any { method: any, .. } => any.as_ref().is_none_or(|own| own == method),
        }
    }
}

fn may_be_same(one: &Option<String>, other: &Option<String>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// `service.method`; the last dot splits, since services may have dots in their names.
impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any {
                service: None,
                method: None,
            });
        }
        let Some((service, method)) = text.rsplit_once('.') else {
            return Err(format!("{text:?} is no route: write \"service.method\""));
        };
        let part = |part: &str| (part != "*").then(|| part.to_owned());
        let (own_service, own_method) = (part(service), part(method));
        // A pattern's own part has to be as good as a route's.
        let checked = Route::new(
            own_service.as_deref().unwrap_or("any"),
            own_method.as_deref().unwrap_or("any"),
        );
        match checked {
            Err(error) => Err(format!("{text:?} is no route: {error}")),
            Ok(route) if own_service.is_some() && own_method.is_some() => Ok(Self::One(route)),
            Ok(_) => Ok(Self::Any {
                service: own_service,
                method: own_method,
            }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(route) => route.fmt(f),
            Self::Any {
                service: None,
                method: None,
            } => f.write_str("*"),
            Self::Any { service, method } => {
                let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
                write!(f, "{}.{}", part(service), part(method))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_cover_what_they_say() {
        let route = |service, method| Route::new(service, method).unwrap();
        let covered = |text| {
            let routes = [
                route("products", "get"),
                route("products", "list"),
                route("a.b", "get"),
            ];
            routes.map(|route| target(text).covers(&route))
        };
        assert_eq!(covered("products.get"), [true, false, false]);
        assert_eq!(covered("products.*"), [true, true, false]);
        assert_eq!(covered("*.get"), [true, false, true]);
        assert_eq!(covered("a.b.*"), [false, false, true]);
        assert_eq!(covered("*"), [true, true, true]);
        for text in ["products.get", "products.*", "*.get", "*"] {
            assert_eq!(target(text).to_string(), text);
        }
    }

    #[test]
    fn patterns_meet_where_both_cover_a_route() {
        let meets = |one: &str, other: &str| target(one).meets(&target(other));
        assert!(meets("products.*", "*.get") && meets("products.get", "products.*") && meets("*", "a.b"));
        assert!(!meets("products.*", "stock.*") && !meets("*.get", "*.list") && !meets("a.b", "a.c"));
    }

    #[test]
    fn what_is_no_route_is_no_pattern() {
        for text in [
            "products",
            "",
            ".",
            "products.",
            "pro*.get",
            "products.*.get",
            "products.g-t",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}

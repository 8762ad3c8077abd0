//! Where the broker is: nameko's own spellings of `AMQP_URI`.

use std::{fmt, net::IpAddr};

/// One broker address, with the account to use there.
///
/// Neither `Debug` nor `Display` shows the user or the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether to speak TLS (`amqps`).
    pub tls: bool,
    /// Host name or IP address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Virtual host, decoded: `/` is RabbitMQ's default one.
    pub vhost: String,
    /// User name, decoded.
    pub user: String,
    /// Password, decoded.
    pub password: String,
}

impl Address {
    /// Reads an `AMQP_URI` as nameko (kombu) does: `amqp://user:password@host:port/vhost`, several separated by `;`.
    ///
    /// `pyamqp` is `amqp`. What is left out is `guest`, `guest`, `localhost`, 5672 (5671 with `amqps`) and `/`; an
    /// empty vhost is `/` too. User, password and vhost are percent-decoded. Other than in kombu, an `@` in the vhost is
    /// written `%40`: behind a `/` it is the end of a password with one.
    ///
    /// # Errors
    /// [`InvalidUri`] names the rule that was broken, never the text.
    ///
    /// ```
    /// use nameko_cachetools_amqp::Address;
    /// let addresses = Address::parse("pyamqp://me:s%23cret@rabbit/orders").unwrap();
    /// assert_eq!(addresses[0].to_string(), "amqp://rabbit:5672/orders");
    /// assert_eq!(addresses[0].password, "s#cret");
    /// ```
    pub fn parse(uri: &str) -> Result<Vec<Self>, InvalidUri> {
        uri.split(';').map(|one| Self::parse_one(one.trim())).collect()
    }

    fn parse_one(uri: &str) -> Result<Self, InvalidUri> {
        let (scheme, rest) = uri.split_once("://").ok_or(InvalidUri("it has no `://`"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" | "pyamqp" => false,
            "amqps" => true,
            _ => return Err(InvalidUri("its scheme is not `amqp`, `pyamqp` or `amqps`")),
        };
        if rest.contains(['?', '#']) {
            return Err(InvalidUri(
                "it has a query or a fragment; settings other than the address belong to the builder \
                 (a `?` or `#` in a password is written `%3F` or `%23`)",
            ));
        }
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        if vhost.contains('@') {
            return Err(InvalidUri(
                "there is an `@` behind its `/` (a `/` in a password is written `%2F`, an `@` in a vhost `%40`)",
            ));
        }
        let (account, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(if tls { 5671 } else { 5672 }),
            vhost: decoded(vhost, "/")?,
            user: decoded(user, "guest")?,
            password: decoded(password, "guest")?,
        })
    }
}

impl Address {
    /// Whether others may listen: plain text to another machine. (What a name stands for is not looked up.)
    pub(crate) fn is_exposed(&self) -> bool {
        let is_loopback = match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        };
        !self.tls && !is_loopback
    }

    /// What the broker says, without the user: RabbitMQ names whom it refuses something.
    pub(crate) fn unnamed(&self, reason: &str) -> String {
        reason.replace(&format!("user '{}'", self.user), "this user")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let vhost = if self.vhost == "/" { "%2f" } else { &self.vhost };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}/{vhost}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}/{vhost}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// An `AMQP_URI` that can't be read. It says why, but never quotes the text: that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the AMQP URI can't be used: {0}")]
pub struct InvalidUri(&'static str);

fn host_and_port(place: &str) -> Result<(String, Option<u16>), InvalidUri> {
    let (host, port) = match place.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6
                .split_once(']')
                .ok_or(InvalidUri("its IPv6 address has no `]`"))?;
            let port = match rest {
                "" => rest,
                _ => rest.strip_prefix(':').ok_or(InvalidUri(
                    "its IPv6 address is followed by something else than a port",
                ))?,
            };
            (host, port)
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '%' | ',')) {
        return Err(InvalidUri("its host is not a host name or an IP address"));
    }
    let port = match port {
        "" => None,
        digits => match digits.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(InvalidUri("its port is not a number from 1 to 65535")),
        },
    };
    Ok((host.to_owned(), port))
}

/// Percent-decoding (RFC 3986 section 2.1); `default` if there is nothing to decode. At most 255 bytes, since the
/// vhost is an AMQP short string and nobody's password is longer.
fn decoded(text: &str, default: &str) -> Result<String, InvalidUri> {
    if text.is_empty() {
        return Ok(default.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(InvalidUri("a `%` is not followed by two hexadecimal digits"));
        };
        bytes.push((high << 4 | low) as u8);
        rest = rest.get(2..).unwrap_or_default();
    }
    if bytes.len() > 255 || bytes.contains(&0) {
        return Err(InvalidUri(
            "its vhost, user or password is longer than 255 bytes or has a zero byte",
        ));
    }
    String::from_utf8(bytes).map_err(|_| InvalidUri("its vhost, user or password is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> String {
        Address::parse(uri).map_or_else(
            |e| e.to_string(),
            |all| {
                all.iter()
                    .map(|a| {
                        format!(
                            "{} {}:{} tls={} {}:{} {}",
                            a, a.user, a.password, a.tls, a.host, a.port, a.vhost
                        )
                    })
                    .collect::<Vec<_>>()
                    .join(" ; ")
            },
        )
    }

    #[test]
    fn namekos_spellings() {
        let default = "amqp://localhost:5672/%2f guest:guest tls=false localhost:5672 /";
        for uri in [
            "amqp://",
            "amqp://localhost",
            "pyamqp://guest:guest@localhost:5672/",
            "AMQP://localhost/%2F",
            "amqp://localhost//",
        ] {
            assert_eq!(shown(uri), default, "{uri}");
        }
        assert_eq!(
            shown("amqps://u:p%40ss:w@h/v;amqp://[::1]:7"),
            "amqps://h:5671/v u:p@ss:w tls=true h:5671 v ; amqp://[::1]:7/%2f guest:guest tls=false ::1:7 /"
        );
        assert_eq!(
            shown("amqp://u:p@ss@h/a%2Fb%40c"),
            "amqp://h:5672/a/b@c u:p@ss tls=false h:5672 a/b@c"
        );
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_being_quoted() {
        for uri in [
            "",
            "rabbit",
            "http://canary",
            "amqp://h:canary",
            "amqp://h:0",
            "amqp://h:70000",
            "amqp://u:canary%4@h",
            "amqp://h/canary%ff",
            "amqp://[::1",
            "amqp://[::1]7",
            "amqp://h?canary=1",
            "amqp://a b",
            "amqp://h;",
            "amqp://u:canary#x@h",
            "amqp://u:123/canary@h",
            "amqp://u:/canary@h/v",
        ] {
            let error = shown(uri);
            assert!(
                error.starts_with("the AMQP URI can't be used") && !error.contains("canary"),
                "{uri}: {error}"
            );
        }
    }

    #[test]
    fn plain_text_is_exposed_unless_it_stays_on_this_machine() {
        let exposed = |uri: &str| Address::parse(uri).unwrap()[0].is_exposed();
        for uri in [
            "amqp://",
            "amqp://LOCALHOST",
            "amqp://127.0.0.2:7",
            "amqp://[::1]",
            "amqps://rabbit",
        ] {
            assert!(!exposed(uri), "{uri}");
        }
        for uri in ["amqp://rabbit", "pyamqp://10.0.0.1", "amqp://localhost.example"] {
            assert!(exposed(uri), "{uri}");
        }
    }

    /// Proves: R12.
    #[test]
    fn neither_user_nor_password_is_shown() {
        let address = Address::parse("amqp://canary:canary@h/v").unwrap().remove(0);
        assert!(!format!("{address:?} {address}").contains("canary"));
    }
}

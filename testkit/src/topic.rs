//! Topics, as RabbitMQ matches them.

/// Whether a topic's pattern fits a key. A star stands for one word and a hash for any number of them; in a key, both
/// are ordinary text.
pub(crate) fn matches(pattern: &str, key: &str) -> bool {
    fn rest(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((&"#", after)), _) => (0..=words.len()).any(|skipped| rest(after, &words[skipped..])),
            (Some((&"*", after)), Some((_, words))) => rest(after, words),
            (Some((word, after)), Some((first, words))) => word == first && rest(after, words),
            _ => false,
        }
    }
    rest(&words(pattern), &words(key))
}

/// RabbitMQ has no words in an empty key.
fn words(text: &str) -> Vec<&str> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split('.').collect()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn topics_match_as_rabbitmq_does() {
        for (pattern, key, fits) in [
            ("svc.*", "svc.get", true),
            ("svc.*", "svc", false),
            ("svc.*", "svc.a.b", false),
            ("svc.*", "svc.", true),
            ("svc.*", "svc.*", true),
            ("svc.*", "svc.#", true),
            ("svc.*", "#", false),
            ("svc.*", "*.get", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("a.#", "a", true),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b.c.z", true),
            ("a.#.z", "a.b.c", false),
            ("*", "", false),
            ("", "", true),
            ("uuid", "uuid", true),
        ] {
            assert_eq!(matches(pattern, key), fits, "{pattern} {key}");
        }
    }
}

//! What holds for any arguments.

use super::*;

proptest! {
    /// Proves: 57, K1.
    #[test]
    fn equal_to_the_sorted_tree_of_ciborium(value in json_value()) {
        prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
    }

    #[test]
    fn floats_are_shortest(bits in any::<u64>(), half in any::<u16>()) {
        for value in [f64::from_bits(bits), f64::from(f32::from_bits(bits as u32)), f64::from(half::f16::from_bits(half))] {
            prop_assume!(value.is_finite());
            prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
        }
    }

    /// Proves: K5.
    #[test]
    fn big_integers_keep_every_digit(value in any::<i128>(), unsigned in any::<u128>()) {
        prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
        prop_assert_eq!(canonical(&unsigned).unwrap(), oracle(&unsigned));
    }

    #[test]
    fn order_of_keys_does_not_matter(entries in prop::collection::btree_map("[a-z]{0,8}", any::<i32>(), 0..40), seed in any::<u64>()) {
        let mut shuffled: Vec<_> = entries.clone().into_iter().collect();
        shuffled.sort_by_key(|(key, value)| hash(format!("{seed}{key}{value}").as_bytes()));
        let unordered = Shuffled(&shuffled);
        prop_assert_eq!(canonical(&unordered).unwrap(), canonical(&entries).unwrap());
    }

    /// Near collisions: a string split elsewhere, an item moved between args and kwargs, service against method.
    ///
    /// Proves: 56, 57, 58, K3, K8, R9.
    #[test]
    fn moved_boundaries_give_other_keys(text in "[a-z.]{2,12}", at in 1usize..11) {
        prop_assume!(at < text.len());
        let (a, b) = text.split_at(at);
        let context = Context::new();
        let keys = [
            key((a, b)), key((text.as_str(),)), key(((a, b),)), key(vec![vec![a], vec![b]]),
            key(args![a, x = b]), key(args![x = text.as_str()]), key(args![x = a, y = b]),
            key_of(a, "m", &context, (b,)), key_of(&text, "m", &context, ()), key_of("s", &text, &context, ()),
            key_of("s", a, &context, (b,)), key_of("s", "m", &context.clone().set(a, b), ()),
        ];
        let distinct: HashSet<_> = keys.iter().map(Key::as_bytes).collect();
        prop_assert_eq!(distinct.len(), keys.len());
    }

    /// Proves: 57, K3, K4.
    #[test]
    fn different_values_have_different_keys(a in json_value(), b in json_value()) {
        let (text_a, text_b) = (a.to_string(), b.to_string()); // unlike their values, these tell 0.0 from -0.0
        prop_assert_eq!(text_a == text_b, canonical(&a).unwrap() == canonical(&b).unwrap());
    }
}

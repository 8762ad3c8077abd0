//! Python's values in JSON: numbers without bounds, and what kombu makes of dates, decimals and the like.

use nameko_cachetools::{CallError, Reply, args};
use nameko_cachetools_interop::{Packages, live};
use serde_json::{Value, json, value::RawValue};

use crate::interop;

#[test]
fn whole_numbers_of_any_size_go_both_ways() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        for number in [0, 1 << 53, u64::MAX.into(), 1 << 80, u128::MAX] {
            assert_eq!(
                *interop.call::<u128, _>("ident", (number,)).await.unwrap(),
                number
            );
        }
        for number in [-1, i64::MIN.into(), i128::MIN] {
            assert_eq!(
                *interop.call::<i128, _>("ident", (number,)).await.unwrap(),
                number
            );
        }
        assert_eq!(
            *interop.call::<u128, _>("rich", ("big_int",)).await.unwrap(),
            1 << 80
        );

        // Beyond 128 bits the text is still there for whoever asks for it.
        let args = args![RawValue::from_string("1".repeat(60)).unwrap()];
        let text: Reply<Box<RawValue>> = interop.call("ident", args).await.unwrap();
        assert_eq!(text.get(), "1".repeat(60));
    });
}

#[test]
fn floats_keep_every_bit() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        for number in [0.1 + 0.2, 1e300, -0.0, f64::MIN_POSITIVE, f64::MAX, 1.0 / 3.0] {
            let echoed = *interop.call::<f64, _>("ident", (number,)).await.unwrap();
            assert_eq!(echoed.to_bits(), number.to_bits(), "{number:e}");
        }
        let zero: Reply<f64> = interop.call("rich", ("neg_zero",)).await.unwrap();
        assert!(zero.is_sign_negative());
        let seen: Reply<Value> = interop.call("describe", (1, 1.0, -0.0)).await.unwrap();
        assert_eq!(*seen, json!([["int", "1"], ["float", "1.0"], ["float", "-0.0"]]));
    });
}

#[test]
fn a_reply_that_is_no_json_is_an_error_that_says_so() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        for kind in ["nan", "inf", "neg_inf"] {
            let error = interop.call::<Value, _>("rich", (kind,)).await.unwrap_err();
            assert!(
                matches!(error, CallError::MalformedReply { .. }),
                "{kind}: {error}"
            );
            assert!(error.to_string().contains("non-finite float"), "{kind}: {error}");
        }
        let error = interop
            .call::<String, _>("rich", ("lone_surrogate",))
            .await
            .unwrap_err();
        assert!(
            matches!(error, CallError::Decode { .. }),
            "a lone surrogate is no Rust text: {error}"
        );
    });
}

#[test]
fn dates_and_decimals_of_todays_kombu_are_objects_that_name_their_type() {
    let typed = |kind: &str, value: Value| json!({"__type__": kind, "__value__": value});
    let uuid = json!({"hex": "12345678123456781234567812345678"});
    let expected = [
        ("datetime", typed("datetime", "2024-02-29T12:34:56.789012".into())),
        (
            "datetime_utc",
            typed("datetime", "2024-02-29T12:34:56.789012+00:00".into()),
        ),
        (
            "datetime_offset",
            typed("datetime", "2024-02-29T12:34:56+05:30".into()),
        ),
        ("date", typed("date", "2024-02-29".into())),
        ("time", typed("time", "12:34:56.789012".into())),
        (
            "decimal",
            typed("decimal", "1234567890.123456789012345678".into()),
        ),
        ("decimal_exp", typed("decimal", "1E+30".into())),
        ("uuid", typed("uuid", uuid)),
        ("bytes_utf8", typed("bytes", "h\u{e9}llo".into())),
        ("bytes_binary", typed("base64", "//4AAQ==".into())),
        (
            "nested",
            json!({"at": [typed("date", "2024-01-01".into()), {"amount": typed("decimal", "9.99".into())}]}),
        ),
    ];
    for packages in [Packages::Nameko2, Packages::Nameko3] {
        live::shared(packages, async |nameko| assert_rich(nameko, &expected).await);
    }
}

#[test]
fn dates_and_decimals_of_old_kombu_are_texts() {
    let expected = [
        ("datetime", json!("2024-02-29T12:34:56.789012")),
        ("datetime_utc", json!("2024-02-29T12:34:56.789012Z")),
        ("datetime_offset", json!("2024-02-29T12:34:56+05:30")),
        ("date", json!("2024-02-29T00:00:00")),
        ("time", json!("12:34:56.789012")),
        ("decimal", json!("1234567890.123456789012345678")),
        ("decimal_exp", json!("1E+30")),
        ("uuid", json!("12345678-1234-5678-1234-567812345678")),
        (
            "nested",
            json!({"at": ["2024-01-01T00:00:00", {"amount": "9.99"}]}),
        ),
    ];
    live::shared(Packages::OldKombu, async |nameko| {
        assert_rich(nameko, &expected).await
    });
}

#[test]
fn keys_become_texts_and_tuples_lists_in_both_dialects() {
    let expected = [
        ("tuple", json!([1, "two", 3.0])),
        ("int_keys", json!({"1": "a", "2": "b"})),
        ("none_true_keys", json!({"null": 0, "true": 1, "1.5": 2})),
        (
            "unicode",
            json!("snowman \u{2603}, clef \u{1d11e}, nul \0, del \u{7f}, quote \""),
        ),
    ];
    for packages in [Packages::Nameko2, Packages::OldKombu] {
        live::shared(packages, async |nameko| assert_rich(nameko, &expected).await);
    }
}

#[test]
fn typed_values_that_we_send_are_pythons_own_in_todays_kombu_and_dicts_in_old() {
    let sent = || {
        args![
            json!({"__type__": "datetime", "__value__": "2024-02-29T12:34:56+00:00"}),
            json!({"__type__": "date", "__value__": "2024-02-29"}),
            json!({"__type__": "decimal", "__value__": "1.10"})
        ]
    };
    live::shared(Packages::Nameko2, async |nameko| {
        let seen: Reply<Value> = interop(nameko).await.call("describe", sent()).await.unwrap();
        let time = "datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=datetime.timezone.utc)";
        let expected = json!([
            ["datetime", time],
            ["date", "datetime.date(2024, 2, 29)"],
            ["Decimal", "Decimal('1.10')"]
        ]);
        assert_eq!(*seen, expected);
    });
    live::shared(Packages::OldKombu, async |nameko| {
        let seen: Reply<Vec<(String, String)>> =
            interop(nameko).await.call("describe", sent()).await.unwrap();
        assert!(seen.iter().all(|(kind, _)| kind == "dict"), "{:?}", *seen);
    });
}

async fn assert_rich(nameko: &nameko_cachetools_interop::Interop, expected: &[(&str, Value)]) {
    let interop = interop(nameko).await;
    for (kind, expected) in expected {
        let value: Reply<Value> = interop.call("rich", (kind,)).await.unwrap();
        assert_eq!(*value, *expected, "{kind}");
    }
}

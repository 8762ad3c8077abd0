//! Our types for dates, decimals and the like against Python's own.

use nameko_cachetools::{
    Reply, args,
    types::{Bytes, Date, DateTime, Decimal, Time, Uuid},
};
use nameko_cachetools_interop::{Packages, live};
use serde_json::{Value, json};

use crate::interop;

#[test]
fn both_dialects_are_read_to_the_same_values() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let interop = interop(nameko).await;
            let decimal: Reply<Decimal> = interop.call("rich", ("decimal",)).await.unwrap();
            assert_eq!(decimal.as_str(), "1234567890.123456789012345678", "{packages:?}");
            let decimal: Reply<Decimal> = interop.call("rich", ("decimal_exp",)).await.unwrap();
            assert_eq!(decimal.as_str(), "1E+30", "{packages:?}");
            let date: Reply<Date> = interop.call("rich", ("date",)).await.unwrap();
            assert_eq!(date.as_str(), "2024-02-29", "{packages:?}");
            let time: Reply<Time> = interop.call("rich", ("time",)).await.unwrap();
            assert_eq!(time.as_str(), "12:34:56.789012", "{packages:?}");
            let naive: Reply<DateTime> = interop.call("rich", ("datetime",)).await.unwrap();
            assert_eq!(naive.as_str(), "2024-02-29T12:34:56.789012", "{packages:?}");
            let offset: Reply<DateTime> = interop.call("rich", ("datetime_offset",)).await.unwrap();
            assert_eq!(offset.as_str(), "2024-02-29T12:34:56+05:30", "{packages:?}");
            let uuid: Reply<Uuid> = interop.call("rich", ("uuid",)).await.unwrap();
            assert_eq!(
                uuid.to_string(),
                "12345678-1234-5678-1234-567812345678",
                "{packages:?}"
            );

            let utc: Reply<DateTime> = interop.call("rich", ("datetime_utc",)).await.unwrap();
            let zone = if packages == Packages::OldKombu {
                "Z"
            } else {
                "+00:00"
            };
            assert_eq!(
                utc.as_str(),
                format!("2024-02-29T12:34:56.789012{zone}"),
                "{packages:?}"
            );
        });
    }
}

#[test]
fn what_we_write_is_pythons_own() {
    for packages in [Packages::Nameko2, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let args = args![
                Decimal::new("1.10"),
                Date::new("2024-02-29"),
                Time::new("12:34:56"),
                DateTime::new("2024-02-29T12:34:56+00:00"),
                Uuid::from_u128(0x1234_5678_1234_5678_1234_5678_1234_5678),
                Bytes("h\u{e9}".into()),
                Bytes(vec![0xff, 0])
            ];
            let seen: Reply<Value> = interop(nameko).await.call("describe", args).await.unwrap();
            let expected = json!([
                ["Decimal", "Decimal('1.10')"],
                ["date", "datetime.date(2024, 2, 29)"],
                ["time", "datetime.time(12, 34, 56)"],
                [
                    "datetime",
                    "datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=datetime.timezone.utc)"
                ],
                ["UUID", "UUID('12345678-1234-5678-1234-567812345678')"],
                ["bytes", r"b'h\xc3\xa9'"],
                ["bytes", r"b'\xff\x00'"]
            ]);
            assert_eq!(*seen, expected, "{packages:?}");
        });
    }
}

#[test]
fn what_went_through_python_is_what_was_sent() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let sent = (
            Decimal::new("1.10"),
            Date::new("2024-02-29"),
            Bytes(vec![0xff]),
            Uuid::from_u128(7),
        );
        let back: Reply<(Decimal, Date, Bytes, Uuid)> = interop.call("ident", (&sent,)).await.unwrap();
        assert_eq!(*back, sent);
    });
}

#[test]
fn old_kombu_takes_the_text_of_a_decimal() {
    live::shared(Packages::OldKombu, async |nameko| {
        let price = Decimal::new("1.10");
        let seen: Reply<Value> = interop(nameko)
            .await
            .call("describe", (price.as_str(),))
            .await
            .unwrap();
        assert_eq!(*seen, json!([["str", "'1.10'"]]));
    });
}

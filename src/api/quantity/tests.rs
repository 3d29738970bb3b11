//! Quantities against what Kubernetes prints, and properties.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    text.parse::<Quantity>().map_or_else(|e| e.to_string(), |q| q.to_string())
}

#[test]
fn canonical_forms() {
    for (text, expected) in [
        ("0", "0"),
        ("0.0", "0"),
        ("-0Ki", "0"),
        ("100m", "100m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000M", "1G"),
        ("1000Ki", "1000Ki"),
        ("512", "512"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        (".001Ki", "1024m"),
        (".000001Ki", "1024u"),
        (".000000001Ki", "1024n"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e5", "1200e3"),
        ("1E", "1E"),
        ("100e-3", "100e-3"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("+2", "2"),
        ("-1.5Ki", "-1536"),
        ("-2Ki", "-2Ki"),
        ("1.", "1"),
        ("007", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("8Ei", "9223372036854775807"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_quantity() {
    let format = QuantityError::Format.to_string();
    let suffix = QuantityError::Suffix.to_string();
    for (text, expected) in [
        ("", &format),
        ("abc", &format),
        ("1 Gi", &format),
        ("1.1.1", &format),
        ("1Gb", &format),
        ("100mb", &format),
        ("1Mii", &suffix),
        ("1K", &suffix),
        ("1e3m", &format),
        ("1e", &suffix),
        ("2KiE", &suffix),
        ("é", &format),
        ("1e400", &QuantityError::Numeric.to_string()),
    ] {
        assert_eq!(canonical(text), *expected, "{text}");
    }
}

#[test]
fn values_round_away_from_zero() {
    let value = |text: &str| text.parse::<Quantity>().unwrap().value();
    let milli = |text: &str| text.parse::<Quantity>().unwrap().milli_value();
    assert_eq!([value("1.1"), value("-1.1"), value("1Gi"), value("100E")], [2, -2, 1 << 30, i64::MAX]);
    assert_eq!([milli("1.1"), milli("0.1m"), milli("2"), milli("-100u")], [1100, 1, 2000, -1]);
    assert_eq!("100u".parse::<Quantity>().unwrap().rounded_to_milli().to_string(), "1m");
}

#[test]
fn sums_keep_the_first_format() {
    let sum = |a: &str, b: &str| a.parse::<Quantity>().unwrap().plus(b.parse().unwrap()).to_string();
    assert_eq!(sum("1Gi", "1Gi"), "2Gi");
    assert_eq!(sum("0", "1Gi"), "1Gi");
    assert_eq!(sum("500m", "1500m"), "2");
    let less = "1Gi".parse::<Quantity>().unwrap().minus(Quantity::units(1 << 20, Format::BinarySi));
    assert_eq!(less.to_string(), "1023Mi");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,24}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn the_canonical_form_is_the_same_quantity(
        number in "[+-]?[0-9]{1,15}(\\.[0-9]{0,9})?",
        suffix in "(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]|E-[0-9])?",
    ) {
        if let Ok(first) = format!("{number}{suffix}").parse::<Quantity>() {
            let again: Quantity = first.to_string().parse().unwrap();
            prop_assert_eq!(first, again);
            prop_assert_eq!(first.to_string(), again.to_string());
        }
    }

    #[test]
    fn sums_and_differences_undo_each_other(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
        let (a, b) = (Quantity::millis(a), Quantity::millis(b));
        prop_assert_eq!(a.plus(b).minus(b), a);
        prop_assert_eq!(a < b, a.milli_value() < b.milli_value());
    }
}

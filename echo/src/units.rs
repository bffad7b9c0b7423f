//! Times, sizes, counts and ways of waiting, as people write and read them.

use std::time::Duration;

use wakeful::BusyPoll;

/// Reads `10`, `1.5s`, `250ms`, `2m` or `1h`; a bare number means seconds.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time is written as 10, 1.5s, 250ms, 2m or 1h".to_owned()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: f64| Duration::try_from_secs_f64(number * seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time is a number above zero, as in 10, 1.5s, 250ms, 2m or 1h".to_owned())
}

/// Reads `64`, `16k` or `1M`, with k for 1024; at least one byte, and at most [`SIZE_MAX`].
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => Some(1),
        "k" | "K" | "KiB" => Some(1 << 10),
        "M" | "MiB" => Some(1 << 20),
        _ => None,
    };
    factor
        .and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor))
        .filter(|size| (1..=SIZE_MAX).contains(size))
        .ok_or_else(|| "a size is a number of bytes from 1 to 64M, as in 64, 16k or 1M".to_owned())
}

/// Reads `off`, `always`, or a number of microseconds.
pub(crate) fn parse_busy_poll(text: &str) -> Result<BusyPoll, String> {
    match text {
        "off" => Ok(BusyPoll::Off),
        "always" => Ok(BusyPoll::Always),
        number => match number.parse() {
            Ok(micros) => Ok(BusyPoll::Adaptive(Duration::from_micros(micros))),
            Err(_) => Err("write it as `off`, `always` or a number of microseconds".to_owned()),
        },
    }
}

/// Where the digits end and the unit begins.
fn split(text: &str) -> (&str, &str) {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let digits = text.trim_start_matches(is_digit);
    text.split_at(text.len() - digits.len())
}

/// Three digits and a unit: `53.2 µs`.
pub(crate) fn time(nanoseconds: f64) -> String {
    three_digits(nanoseconds, &["ns", "µs", "ms", "s"])
}

/// The same for bytes: `1.25 MB`, with a kB of 1000 as in network rates.
pub(crate) fn bytes(count: f64) -> String {
    three_digits(count, &["B", "kB", "MB", "GB", "TB"])
}

/// Thousands set apart: `1 234 567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 worker`, `2 workers`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number))
}

fn three_digits(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // From here on it would be rounded to four digits.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 || value >= 99.95 => 0,
        _ if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {}", units[unit])
}

/// Also so that a position in what a connection sends stays far from overflow.
const SIZE_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read() {
        for (text, expected) in [
            ("10", Some(Duration::from_secs(10))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("250ms", Some(Duration::from_millis(250))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(Duration::from_secs(3600))),
            ("0", None),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.2.3", None),
            ("10 parsecs", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(parse_time(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("64", Some(64)),
            ("16k", Some(16 << 10)),
            ("64M", Some(64 << 20)),
            ("65M", None),
            ("0", None),
            ("1.5k", None),
            ("99999999999999999999", None),
            ("18014398509481985k", None), // more than 64 bits
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn figures_have_three_digits() {
        for (nanoseconds, expected) in [
            (0.0, "0 ns"),
            (999.4, "999 ns"),
            (999.6, "1.00 µs"),
            (9_994.0, "9.99 µs"),
            (53_240.0, "53.2 µs"),
            (999_400_000.0, "999 ms"),
            (7.2e12, "7200 s"),
        ] {
            assert_eq!(time(nanoseconds), expected);
        }
        assert_eq!(bytes(1_250_000.0), "1.25 MB");
        assert_eq!(count(0), "0");
        assert_eq!(count(123_456), "123 456");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(plural(1, "worker"), "1 worker");
        assert_eq!(plural(2_000, "worker"), "2 000 workers");
    }
}

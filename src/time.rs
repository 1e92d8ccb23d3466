//! Time as a value: whoever needs to know what time it is gets a [`Now`] handed in.
//!
//! Only `net` reads a clock. Everything else computes with the numbers it was given, so the simulated
//! world can let a day pass in a millisecond.

/// One reading of the clocks, taken once per turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds on a clock that never goes back; its zero means nothing.
    pub ms: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z; may jump when the machine's clock is set.
    pub unix_ms: u64,
}

impl Now {
    /// A reading with both clocks given.
    pub const fn new(ms: u64, unix_ms: u64) -> Self {
        Self { ms, unix_ms }
    }

    /// Whole seconds since 1970.
    pub const fn unix_seconds(self) -> u64 {
        self.unix_ms / 1000
    }

    /// `2026-11-20T10:30:53.557000`: UTC, six digits of a second, no zone.
    pub fn iso_micros(self) -> String {
        let c = Civil::from_unix_seconds(self.unix_ms / 1000);
        let millis = self.unix_ms % 1000;
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000",
            c.year, c.month, c.day, c.hour, c.minute, c.second, millis
        )
    }

    /// `Fri, 20 Nov 2026 10:30:53 GMT`: the form of the `Date` header (RFC 9110 §5.6.7).
    pub fn http_date(self) -> String {
        let c = Civil::from_unix_seconds(self.unix_ms / 1000);
        format!(
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            WEEKDAYS[c.weekday],
            c.day,
            MONTHS[c.month - 1],
            c.year,
            c.hour,
            c.minute,
            c.second
        )
    }
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

struct Civil {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    weekday: usize,
}

impl Civil {
    /// The Gregorian calendar, counted in 400-year cycles that start on 1 March, where the leap day
    /// comes last and needs no special case.
    fn from_unix_seconds(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let rest = seconds % 86_400;
        let shifted = days + 719_468; // days since 0000-03-01
        let cycle = shifted / 146_097;
        let day_of_cycle = shifted % 146_097;
        let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
            - day_of_cycle / 146_096)
            / 365;
        let day_of_year =
            day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
        Self {
            year,
            month: month as usize,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: ((days + 4) % 7) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_moments() {
        let at = |seconds: u64| Now::new(0, seconds * 1000 + 557).http_date();
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(at(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(
            Now::new(0, 784_111_777_557).iso_micros(),
            "1994-11-06T08:49:37.557000"
        );
    }
}

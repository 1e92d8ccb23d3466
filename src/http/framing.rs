//! How long a body is, from what its head declares.
//!
//! The rule (RFC 9112 §6): a message declares its length once. Two declarations, or one that two readers could read
//! in two ways, are how requests are smuggled past each other, so they are refused and never repaired.

use super::HttpError;
use super::fields::Fields;

/// How the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No length was declared: there is no body.
    None,
    /// `Content-Length`: so many bytes, possibly zero.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the headers say.
    None,
    /// So many bytes.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// No length was declared: the body ends with the connection.
    UntilClose,
}

/// RFC 9112 §6.3 for a request.
pub(super) fn request_body(fields: &Fields, minor_version: u8) -> Result<BodyLength, HttpError> {
    if is_chunked(fields, minor_version)? {
        return Ok(BodyLength::Chunked);
    }
    Ok(content_length(fields)?.map_or(BodyLength::None, BodyLength::Exact))
}

/// RFC 9112 §6.3 for an answer.
pub(super) fn response_body(
    fields: &Fields,
    minor_version: u8,
    status: u16,
    request_was_head: bool,
) -> Result<ResponseBody, HttpError> {
    if request_was_head || has_no_body(status) {
        return Ok(ResponseBody::None);
    }
    request_body(fields, minor_version).map(|length| match length {
        BodyLength::None => ResponseBody::UntilClose,
        BodyLength::Exact(length) => ResponseBody::Exact(length),
        BodyLength::Chunked => ResponseBody::Chunked,
    })
}

/// RFC 9112 §6.3: answers that never have a body.
pub(super) fn has_no_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn is_chunked(fields: &Fields, minor_version: u8) -> Result<bool, HttpError> {
    let mut codings = fields.all("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    if fields.all("content-length").next().is_some() {
        // RFC 9112 §6.1: a sign of smuggling, so say that first, whatever the coding is.
        return Err(HttpError::LengthAndCoding);
    }
    if minor_version == 0 {
        // RFC 9112 §6.1: in HTTP/1.0 the framing is faulty, even with a coding that is known.
        return Err(HttpError::TransferCodingVersion);
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        // RFC 9112 §6.1: 501 for a coding that is not understood.
        return Err(HttpError::TransferCoding);
    }
    Ok(true)
}

/// RFC 9110 §8.6: one decimal number. The same number on several lines is harmless, a list of them is not worth it.
fn content_length(fields: &Fields) -> Result<Option<u64>, HttpError> {
    let mut length = None;
    for value in fields.all("content-length") {
        let value = decimal(value)?;
        if length.is_some_and(|earlier| earlier != value) {
            return Err(HttpError::ContentLengthsDiffer);
        }
        length = Some(value);
    }
    Ok(length)
}

/// Digits only: `str::parse` would take `+5`.
fn decimal(digits: &[u8]) -> Result<u64, HttpError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::ContentLength);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits
        .iter()
        .try_fold(0, add)
        .ok_or(HttpError::ContentLengthOverflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Ok(0));
        assert_eq!(decimal(b"007"), Ok(7));
        assert_eq!(decimal(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(
            decimal(b"18446744073709551616"),
            Err(HttpError::ContentLengthOverflow)
        );
        for bad in [
            &b""[..],
            b"+5",
            b"-5",
            b"0x5",
            b"5 5",
            b"5,5",
            b"5.0",
            b"1e3",
            b"\xd9\xa5",
        ] {
            assert_eq!(decimal(bad), Err(HttpError::ContentLength), "{bad:?}");
        }
    }

    #[test]
    fn statuses_without_a_body() {
        assert!([100, 101, 103, 199, 204, 304].into_iter().all(has_no_body));
        assert!(
            ![200, 201, 205, 206, 301, 400, 500]
                .into_iter()
                .any(has_no_body)
        );
    }
}

//! The pages of a list operation.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::api_error::ApiError;

/// One page, and the token of the next page if there is one.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// Returns the page at `token`, or the first one. `limit` is 0 to 60; 0 and none mean 60.
pub(super) fn page<T>(
    items: impl Iterator<Item = T>,
    limit: Option<u32>,
    token: Option<&str>,
) -> Result<Page<T>, ApiError> {
    let limit = size(limit)?;
    let start = token.map_or(Ok(0), offset)?;
    let mut rest = items.skip(start);
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let next = rest.next().map(|_| URL_SAFE_NO_PAD.encode(format!("{PREFIX}{}", start + limit)));
    Ok(Page { items, next })
}

fn size(limit: Option<u32>) -> Result<usize, ApiError> {
    match limit {
        None | Some(0) => Ok(LARGEST),
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) if limit <= LARGEST => Ok(limit),
            _ => Err(ApiError::InvalidParameter(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: \
                 Member must have value less than or equal to 60"
            ))),
        },
    }
}

fn offset(token: &str) -> Result<usize, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let offset = text.strip_prefix(PREFIX).and_then(|digits| digits.parse().ok());
    offset.ok_or_else(|| ApiError::InvalidParameter("Invalid pagination token given.".to_owned()))
}

const LARGEST: usize = 60;
const PREFIX: &str = "standin:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let first = page(0..5, Some(2), None).expect("a page");
        let second = page(0..5, Some(2), first.next.as_deref()).expect("a page");
        let third = page(0..5, Some(2), second.next.as_deref()).expect("a page");
        assert_eq!([first.items, second.items, third.items], [vec![0, 1], vec![2, 3], vec![4]]);
        assert!(second.next.is_some() && third.next.is_none());
    }

    #[test]
    fn a_full_last_page_has_no_token() {
        assert!(page(0..2, Some(2), None).expect("a page").next.is_none());
        assert_eq!(page(0..61, None, None).expect("a page").items.len(), 60);
        assert_eq!(page(0..61, Some(0), None).expect("a page").items.len(), 60);
    }

    #[test]
    fn a_limit_over_60_and_an_invalid_token_are_refused() {
        assert!(page(0..5, Some(61), None).expect_err("refused").code_and_message().1.contains("'61'"));
        assert!(
            page(0..5, None, Some("nonsense"))
                .expect_err("refused")
                .code_and_message()
                .1
                .contains("pagination token")
        );
    }
}

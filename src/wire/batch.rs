//! The messages of `BatchGetUsers`.

use std::collections::HashMap;

use prost::{Message as _, length_delimiter_len};

use super::{demand, pool, proto, proto::batch_get_users_result::Result as Item, reply, selection};
use crate::{
    freshness::Moment,
    policy::Disclosure,
    query::{Batch, Invalid, Query},
    user::Sub,
};

/// Reads a request that arrived `now` as valid questions, or names the first field that is not.
pub fn batch(message: &proto::BatchGetUsersRequest, now: Moment) -> Result<Batch, Invalid> {
    use proto::{batch_get_users_request::Freshness as Of, get_user_request::Freshness};

    if !(1..=MAX_USERS).contains(&message.subs.len()) {
        return Err(Invalid::field("subs", "must be 1 to 100 users"));
    }
    let freshness = message.freshness.map(|freshness| match freshness {
        Of::MaxAge(age) => Freshness::MaxAge(age),
        Of::NotOlderThan(time) => Freshness::NotOlderThan(time),
    });
    let (subs, order) = distinct(&message.subs)?;
    let query = Query {
        sub: None,
        pool: pool(&message.user_pool_id)?,
        attributes: selection(&message.attributes)?,
        include_groups: message.include_groups,
        demand: demand(freshness.as_ref(), now)?,
    };
    Ok(Batch { subs, order, query })
}

/// Puts what became of each user of a batch into an answer, once for each time that it was asked about.
///
/// Where there is no room, that is `full` instead. Returns also the places of those `users` for whom there was none at all.
pub fn batch_reply(
    users: Vec<Result<Disclosure, proto::Status>>,
    order: &[usize],
    full: proto::Status,
) -> (proto::BatchGetUsersResponse, Vec<usize>) {
    let item = |user: Result<Disclosure, _>| user.map_or_else(Item::Error, |user| Item::Found(reply(user)));
    let result = |item| proto::BatchGetUsersResult { result: Some(item) };
    let items: Vec<_> = users.into_iter().map(item).map(result).collect();
    let full = result(Item::Error(full));
    let (mut room, mut told) = (MAX_FOUND_BYTES, vec![false; items.len()]);
    let fitting = |place: &usize| {
        let item = items.get(*place)?;
        let Some(left) = room.checked_sub(bytes(item)) else { return Some(full.clone()) };
        room = left;
        told.get_mut(*place).into_iter().for_each(|told| *told = true);
        Some(item.clone())
    };
    let results = order.iter().filter_map(fitting).collect();
    let untold = told.into_iter().enumerate().filter_map(|(place, told)| (!told).then_some(place));
    (proto::BatchGetUsersResponse { results }, untold.collect())
}

/// What a user takes of an answer; a status takes of the margin.
fn bytes(item: &proto::BatchGetUsersResult) -> usize {
    let Some(Item::Found(_)) = item.result else { return 0 };
    let message = item.encoded_len();
    1 + length_delimiter_len(message) + message
}

fn distinct(subs: &[String]) -> Result<(Vec<Sub>, Vec<usize>), Invalid> {
    let (mut users, mut order, mut places) = (Vec::new(), Vec::new(), HashMap::new());
    for (n, text) in subs.iter().enumerate() {
        let sub: Sub = text.parse().map_err(|_| Invalid::SubOf(n))?;
        let place = *places.entry(text.as_str()).or_insert(users.len());
        if place == users.len() {
            users.push(sub);
        }
        order.push(place);
    }
    Ok((users, order))
}

const MAX_USERS: usize = 100;
// What clients read at most unless told otherwise (grpc-go, grpc-java, tonic), less 100 statuses of 600 bytes.
const MAX_FOUND_BYTES: usize = (4 * 1024 - 64) * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_are_told_apart_and_keep_their_order() {
        let batch = batch(&about(&["b", "a", "b", "B", "a"]), Moment::now()).unwrap();
        assert_eq!(batch.subs.iter().map(Sub::as_str).collect::<Vec<_>>(), ["b", "a", "B"]);
        assert_eq!(batch.order, [0, 1, 0, 2, 1]);
        assert!(batch.queries().all(|query| query.sub.is_some()));
    }

    #[tokio::test]
    async fn what_is_no_batch_is_named() {
        let many = vec!["a"; 101];
        let bad: Vec<_> = (0..20).map(|n| if n == 17 { "a b" } else { "a" }).collect();
        let field = |field: &str, problem| Err(Invalid::field(field, problem));
        let pool = proto::BatchGetUsersRequest { user_pool_id: "x".into(), ..about(&["a"]) };
        let table = [
            (about(&[]), field("subs", "must be 1 to 100 users")),
            (about(&many), field("subs", "must be 1 to 100 users")),
            (about(&bad), Err(Invalid::SubOf(17))),
            (about(&[""]), Err(Invalid::SubOf(0))),
            (pool, field("user_pool_id", "is no user pool id such as eu-west-1_AbCdEfGhI")),
        ];
        for (message, expected) in table {
            assert_eq!(batch(&message, Moment::now()), expected);
        }
        assert_eq!(batch(&about(&many[..100]), Moment::now()).unwrap().order, [0; 100]);
    }

    fn about(subs: &[&str]) -> proto::BatchGetUsersRequest {
        let subs = subs.iter().map(ToString::to_string).collect();
        proto::BatchGetUsersRequest { subs, ..Default::default() }
    }
}

//! The messages of `BatchGetUsers`.

use std::{collections::HashMap, ops::Range};

use prost::encoding::message;

use super::{
    encoded::{Encoded, put_message},
    freshness_requirement, pool,
    reply::{REPLY_BYTES, put_reply},
    selection,
};
use crate::{
    clock::TimePoint,
    policy::Disclosure,
    proto,
    query::{BatchQuery, InvalidQuery, Query},
    user::Sub,
};

/// Reads a request; the error names the first invalid field.
pub fn batch(
    message: &proto::BatchGetUsersRequest,
    now: impl FnOnce() -> TimePoint,
) -> Result<BatchQuery, InvalidQuery> {
    use proto::{batch_get_users_request::Freshness as Of, get_user_request::Freshness};

    if !(1..=MAX_USERS).contains(&message.subs.len()) {
        return Err(InvalidQuery::field("subs", "must be 1 to 100 users"));
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
        freshness: freshness_requirement(freshness.as_ref(), now)?,
    };
    Ok(BatchQuery { subs, order, query })
}

/// Encodes a `BatchGetUsersResponse` with the results of those of `users` that `order` names.
///
/// `full` replaces a result that does not fit. Returns also the indices of users that fit nowhere.
pub fn batch_reply(
    users: &[Result<Disclosure, proto::Status>],
    order: &[usize],
    full: &proto::Status,
) -> (Encoded, Vec<usize>) {
    let mut room = MAX_FOUND_BYTES;
    // The range of each user's result in the reply, so that it is encoded only once.
    let mut places: Vec<Option<Range<usize>>> = vec![None; users.len()];
    let reply = Encoded::write(order.len() * REPLY_BYTES, |reply| {
        for index in order {
            let (Some(user), Some(place)) = (users.get(*index), places.get_mut(*index)) else { continue };
            let begin = reply.len();
            match place {
                Some(range) => reply.extend_from_within(range.clone()),
                None => put_message(1, reply, |item| put_item(user, item)),
            }
            // A status counts against the margin.
            let size = if user.is_ok() { reply.len() - begin } else { 0 };
            match room.checked_sub(size) {
                Some(left) => (room, *place) = (left, Some(begin..reply.len())),
                None => {
                    reply.truncate(begin);
                    put_message(1, reply, |item| message::encode(2, full, item));
                }
            }
        }
    });
    let omitted = places.iter().enumerate().filter(|(_, place)| place.is_none());
    (reply, omitted.map(|(index, _)| index).collect())
}

/// Appends the fields of a `BatchGetUsersResult`.
fn put_item(user: &Result<Disclosure, proto::Status>, item: &mut Vec<u8>) {
    match user {
        Ok(user) => put_message(1, item, |found| put_reply(user, found)),
        Err(status) => message::encode(2, status, item),
    }
}

/// Returns each user once, and for every item of `subs` the index of its user.
fn distinct(subs: &[String]) -> Result<(Vec<Sub>, Vec<usize>), InvalidQuery> {
    let mut users = Vec::with_capacity(subs.len());
    let mut order = Vec::with_capacity(subs.len());
    let mut indices = HashMap::with_capacity(subs.len());
    for (n, text) in subs.iter().enumerate() {
        let sub: Sub = text.parse().map_err(|_| InvalidQuery::Sub(format!("subs[{n}]")))?;
        let index = *indices.entry(text.as_str()).or_insert(users.len());
        if index == users.len() {
            users.push(sub);
        }
        order.push(index);
    }
    Ok((users, order))
}

const MAX_USERS: usize = 100;
// The limit of clients by default (grpc-go, grpc-java, tonic), less 100 statuses of 600 bytes.
const MAX_FOUND_BYTES: usize = (4 * 1024 - 64) * 1024;

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::wire::{reply, reply::tests::disclosed};

    #[tokio::test]
    async fn each_user_is_looked_up_once_and_the_order_is_kept() {
        let batch = batch(&about(&["b", "a", "b", "B", "a"]), TimePoint::now).unwrap();
        assert_eq!(batch.subs.iter().map(Sub::as_str).collect::<Vec<_>>(), ["b", "a", "B"]);
        assert_eq!(batch.order, [0, 1, 0, 2, 1]);
        assert!(batch.queries().all(|query| query.sub.is_some()));
    }

    #[tokio::test]
    async fn the_first_invalid_field_is_named() {
        let many = vec!["a"; 101];
        let bad: Vec<_> = (0..20).map(|n| if n == 17 { "a b" } else { "a" }).collect();
        let field = |field: &str, problem| Err(InvalidQuery::field(field, problem));
        let pool = proto::BatchGetUsersRequest { user_pool_id: "x".into(), ..about(&["a"]) };
        let table = [
            (about(&[]), field("subs", "must be 1 to 100 users")),
            (about(&many), field("subs", "must be 1 to 100 users")),
            (about(&bad), Err(InvalidQuery::Sub("subs[17]".into()))),
            (about(&[""]), Err(InvalidQuery::Sub("subs[0]".into()))),
            (pool, field("user_pool_id", "is not a user pool id such as eu-west-1_AbCdEfGhI")),
        ];
        for (message, expected) in table {
            assert_eq!(batch(&message, TimePoint::now), expected);
        }
        assert_eq!(batch(&about(&many[..100]), TimePoint::now).unwrap().order, [0; 100]);
    }

    #[test]
    fn a_reply_decodes_as_the_generated_type_and_says_what_did_not_fit() {
        use proto::batch_get_users_result::Result as Item;
        let status = |message: &str| proto::Status { code: 8, message: message.into(), details: Vec::new() };
        let large = || "v".repeat(MAX_FOUND_BYTES / 2);
        let small = disclosed("small", "x");
        let found = |disclosure: &Disclosure| {
            Item::Found(proto::GetUserResponse::decode(reply(disclosure).message()).unwrap())
        };
        let error = |message: &str| Item::Error(status(message));
        let users =
            [Ok(disclosed("a", &large())), Err(status("none")), Ok(disclosed("b", &large())), Ok(small)];
        let [first, second, third] = [0, 2, 3].map(|index| users[index].as_ref().map(found).unwrap());
        let full = || error("full");
        let table = [
            (vec![0, 1, 3], vec![first.clone(), error("none"), third.clone()], vec![2]),
            (vec![0, 0], vec![first, full()], vec![1, 2, 3]),
            (vec![2, 0, 3, 1], vec![second, full(), third, error("none")], vec![0]),
            (vec![9], vec![], vec![0, 1, 2, 3]),
        ];
        for (order, expected, omitted) in table {
            let (reply, indices) = batch_reply(&users, &order, &status("full"));
            let response = proto::BatchGetUsersResponse::decode(reply.message()).unwrap();
            let items: Vec<_> = response.results.into_iter().filter_map(|result| result.result).collect();
            assert!(items == expected, "{order:?}");
            assert_eq!(indices, omitted, "{order:?}");
        }
    }

    fn about(subs: &[&str]) -> proto::BatchGetUsersRequest {
        let subs = subs.iter().map(ToString::to_string).collect();
        proto::BatchGetUsersRequest { subs, ..Default::default() }
    }
}

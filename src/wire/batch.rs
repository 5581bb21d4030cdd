//! The messages of `BatchGetUsers`.

use std::collections::HashMap;

use prost::{encoding::message, length_delimiter_len};

use super::{
    demand,
    encoded::{Encoded, put_bytes},
    pool, reply,
    reply::USER_BYTES,
    selection,
};
use crate::{
    freshness::Moment,
    policy::Disclosure,
    proto,
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

/// Puts what became of each user of a batch into a `BatchGetUsersResponse`, once for each time that it was asked about.
///
/// Where there is no room, that is `full` instead. Returns also the places of those `users` for whom there was none at all.
pub fn batch_reply(
    users: &[Result<Disclosure, proto::Status>],
    order: &[usize],
    full: &proto::Status,
) -> (Encoded, Vec<usize>) {
    let (items, full): (Vec<_>, _) = (users.iter().map(item).collect(), failed(full));
    let (mut room, mut told) = (MAX_FOUND_BYTES, vec![false; items.len()]);
    let mut results = Vec::with_capacity(order.len() * USER_BYTES);
    for place in order {
        let Some(item) = items.get(*place) else { continue };
        let fits = users.get(*place).is_some_and(Result::is_err) || take(&mut room, item);
        put_bytes(1, if fits { item } else { &full }, &mut results);
        told.get_mut(*place).into_iter().for_each(|told| *told |= fits);
    }
    let untold = told.into_iter().enumerate().filter_map(|(place, told)| (!told).then_some(place));
    (Encoded(results), untold.collect())
}

/// A `BatchGetUsersResult`.
fn item(user: &Result<Disclosure, proto::Status>) -> Vec<u8> {
    let user = match user {
        Ok(user) => user,
        Err(status) => return failed(status),
    };
    let Encoded(found) = reply(user);
    let mut item = Vec::with_capacity(found.len() + 8);
    put_bytes(1, &found, &mut item);
    item
}

fn failed(status: &proto::Status) -> Vec<u8> {
    let mut item = Vec::new();
    message::encode(2, status, &mut item);
    item
}

/// Takes what a user needs of an answer, if there is as much; a status takes of the margin.
fn take(room: &mut usize, item: &[u8]) -> bool {
    let left = room.checked_sub(1 + length_delimiter_len(item.len()) + item.len());
    *room = left.unwrap_or(*room);
    left.is_some()
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
    use prost::Message as _;

    use super::*;
    use crate::wire::reply::tests::disclosed;

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

    #[test]
    fn a_reply_reads_as_the_message_of_the_contract_and_tells_what_had_no_room() {
        use proto::batch_get_users_result::Result as Item;
        let status = |message: &str| proto::Status { code: 8, message: message.into(), details: Vec::new() };
        let large = || "v".repeat(MAX_FOUND_BYTES / 2);
        let small = disclosed("small", "x");
        let found = |disclosure: &Disclosure| {
            let encoded = reply(disclosure).encode_to_vec();
            Item::Found(proto::GetUserResponse::decode(&*encoded).unwrap())
        };
        let error = |message: &str| Item::Error(status(message));
        let users =
            [Ok(disclosed("a", &large())), Err(status("none")), Ok(disclosed("b", &large())), Ok(small)];
        let [first, second, third] = [0, 2, 3].map(|place| users[place].as_ref().map(found).unwrap());
        let full = || error("full");
        let table = [
            (vec![0, 1, 3], vec![first.clone(), error("none"), third.clone()], vec![2]),
            (vec![0, 0], vec![first, full()], vec![1, 2, 3]),
            (vec![2, 0, 3, 1], vec![second, full(), third, error("none")], vec![0]),
            (vec![9], vec![], vec![0, 1, 2, 3]),
        ];
        for (order, expected, untold) in table {
            let (reply, places) = batch_reply(&users, &order, &status("full"));
            let told = proto::BatchGetUsersResponse::decode(&*reply.encode_to_vec()).unwrap();
            let items: Vec<_> = told.results.into_iter().filter_map(|result| result.result).collect();
            assert!(items == expected, "{order:?}");
            assert_eq!(places, untold, "{order:?}");
        }
    }

    fn about(subs: &[&str]) -> proto::BatchGetUsersRequest {
        let subs = subs.iter().map(ToString::to_string).collect();
        proto::BatchGetUsersRequest { subs, ..Default::default() }
    }
}

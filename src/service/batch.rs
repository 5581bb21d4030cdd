//! `BatchGetUsers`: replies with those of several users that are found by the deadline.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use super::{CallContext, Reply, Service, deadline};
use crate::{
    auth::Credentials,
    clock::{BootTime, TimePoint},
    error::Error,
    freshness::FreshnessRequirement,
    policy::{CallerRule, Denied, Disclosure, Permit},
    proto::BatchGetUsersRequest,
    query::BatchQuery,
    users::{Failure, Found},
    wire,
};

impl Service {
    pub(super) async fn batch(&self, message: &BatchGetUsersRequest, context: CallContext<'_>) -> Reply {
        let CallContext { metadata, peer, call, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_rule(&caller, &rule);
        audit.set_token_user(&caller);
        let batch = wire::batch(message, TimePoint::now)?;
        audit.set_batch(&batch);
        let rule = rule?;
        let permits = permits(rule, &batch)?;
        rule.take_answers(permits.iter().flatten().count())?;
        self.check_online(credentials, rule.caller_limit(), call.deadline).await?;
        audit.set_denials(permits.iter().map(|permit| permit.as_ref().err().map(Error::reason)));
        let users = self.find_all(permits, deadline::of_fetches(call.deadline)).await;
        let began = users.iter().flatten().map(|user| user.freshness().began.boot).min();
        call.set_holds_until(began.and_then(|began| batch.query.freshness.holds_until(began)));
        call.set_users(users.iter().flatten().count());
        audit.set_user_outcomes(users.iter().map(|user| match user {
            Ok(user) => Ok((user.names(), user.freshness())),
            Err(error) => Err(error.reason()),
        }));
        let users = users.into_iter().map(|user| user.map_err(|error| error.into_proto(call.request_id())));
        let full = Error::BatchFull.into_proto(call.request_id());
        let (reply, omitted) = wire::batch_reply(&users.collect::<Vec<_>>(), &batch.order, &full);
        omitted.into_iter().for_each(|index| audit.set_refused(index, Error::BatchFull.reason()));
        Ok(reply)
    }

    /// Finds the permitted users, all at once; a user that is not found by `deadline` is an error.
    /// What is too old once the last user is found is looked up again, beside what would then be
    /// too old.
    async fn find_all(
        &self,
        permits: Vec<Result<Permit, Error>>,
        deadline: Instant,
    ) -> Vec<Result<Disclosure, Error>> {
        let mut items: Vec<_> = permits.into_iter().map(|permit| self.item(permit)).collect();
        let mut began = BootTime::now();
        self.find_some(&mut items, |item| item.user.is_none(), None, deadline).await;
        for _ in 0..MAX_REPEATS {
            let now = BootTime::now();
            if items.iter().all(|item| item.is_fresh_at(now)) {
                break;
            }
            let then = now + (now - began);
            began = now;
            let since = Some(FreshnessRequirement::FetchedSince(now));
            self.find_some(&mut items, |item| !item.is_fresh_at(then), since, deadline).await;
        }
        let now = BootTime::now();
        items.into_iter().map(|item| item.leave(now)).collect()
    }

    fn item(&self, permit: Result<Permit, Error>) -> Item {
        match permit {
            Err(error) => Item { permit: None, user: Some(Err(error)) },
            Ok(permit) => {
                let found = self.users.find_cached(&permit);
                Item { user: found.map(|found| disclose(found, &permit)), permit: Some(permit) }
            }
        }
    }

    /// Looks up the chosen users until the deadline.
    async fn find_some(
        &self,
        items: &mut [Item],
        is_chosen: impl Fn(&Item) -> bool,
        requirement: Option<FreshnessRequirement>,
        deadline: Instant,
    ) {
        let chosen = items.iter_mut().filter(|item| is_chosen(item));
        let lookups: FuturesUnordered<_> =
            chosen.map(|item| self.look_up(item, requirement, deadline)).collect();
        drop(timeout_at(deadline, lookups.count()).await);
    }

    async fn look_up(&self, item: &mut Item, requirement: Option<FreshnessRequirement>, deadline: Instant) {
        let Some(permit) = &item.permit else { return };
        let requirement = requirement.unwrap_or_else(|| permit.freshness());
        let found = self.users.find_for_batch(permit, requirement, deadline).await;
        let user = disclose(found, permit);
        // A failed fetch leaves what is still fresh enough.
        if user.is_ok() || item.user.is_none() || !item.is_fresh_at(BootTime::now()) {
            item.user = Some(user);
        }
    }
}

/// One user of a batch.
struct Item {
    /// None if the caller may not read the user.
    permit: Option<Permit>,
    /// None until it is found.
    user: Option<Result<Disclosure, Error>>,
}

impl Item {
    /// Returns whether the user, if it is found, is fresh enough for a reply that leaves then.
    fn is_fresh_at(&self, time: BootTime) -> bool {
        match (&self.permit, &self.user) {
            (Some(permit), Some(Ok(user))) => {
                permit.freshness().is_satisfied(user.freshness().began.boot, time)
            }
            _ => true,
        }
    }

    /// Returns the user for a reply that leaves now.
    fn leave(self, now: BootTime) -> Result<Disclosure, Error> {
        let is_fresh = self.is_fresh_at(now);
        match self.user {
            Some(Ok(user)) if is_fresh => Ok(user.at(now)),
            Some(Err(error)) => Err(error),
            _ => Err(Error::DeadlineExceeded),
        }
    }
}

fn disclose(found: Result<Found, Failure>, permit: &Permit) -> Result<Disclosure, Error> {
    Ok(found?.disclose(permit)?)
}

/// Decides for each user of a batch. A refusal that is not about one user fails the batch.
fn permits(rule: CallerRule<'_>, batch: &BatchQuery) -> Result<Vec<Result<Permit, Error>>, Denied> {
    let mut permits = Vec::with_capacity(batch.subs.len());
    for query in batch.queries() {
        permits.push(match rule.permit(query) {
            // The token names the one user that the caller may read, and this is another.
            Err(Denied::SubjectAmbiguous) if rule.requires_user_token() => {
                Err(Denied::SubjectNotAllowed.into())
            }
            Err(denied) if !denied.is_about_one_user() => return Err(denied),
            permit => permit.map_err(Error::from),
        });
    }
    Ok(permits)
}

// A further repeat only follows if Cognito takes longer each time.
const MAX_REPEATS: usize = 2;

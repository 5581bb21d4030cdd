//! Which operations look up a user, and which of the users that they return it is.

use super::{
    super::{
        super::{Failure, entry::LookupMethod, limiter::QuotaCategory},
        Cognito,
        flaw::Flaw,
        response,
    },
    Fetch,
};
use crate::{
    pool::BareSubLookup,
    telemetry::metrics::upstream::UnusableResponse,
    user::{Groups, User, Username},
};

impl Fetch<'_> {
    /// Looks up by `sub` as the pool's settings say, and returns the method used. A cached username
    /// is tried first: that one call also finds a federated user, and proves that a user is gone.
    pub(in super::super) async fn by_sub(
        &mut self,
        username: Option<&Username>,
    ) -> (LookupMethod, Result<Option<User>, Failure>) {
        if let Some(name) = username.filter(|_| self.cognito.pool.bare_sub != BareSubLookup::ListUsers) {
            match self.named(name.as_str()).await {
                // Its former owner may still exist.
                Ok(Err(Flaw::AnotherUser)) => {}
                named => return (LookupMethod::ByUsername, named.and_then(|user| self.usable(user))),
            }
        }
        (LookupMethod::BySub, self.search().await)
    }

    async fn search(&mut self) -> Result<Option<User>, Failure> {
        let user = self.user;
        match self.cognito.pool.bare_sub {
            BareSubLookup::AdminGetUser => self.admin_get_user(user.sub.as_str()).await,
            BareSubLookup::AdminGetUserThenListUsers => match self.admin_get_user(user.sub.as_str()).await? {
                None => self.list_users().await,
                found => Ok(found),
            },
            BareSubLookup::ListUsers => self.list_users().await,
        }
    }

    /// Returns the user looked up, if it is the one with this name. None if another user has the
    /// name: the user was deleted and created again, was linked, or the `sub` is another's name.
    pub(in super::super) async fn admin_get_user(&mut self, name: &str) -> Result<Option<User>, Failure> {
        match self.named(name).await? {
            Err(Flaw::AnotherUser) => Ok(None),
            user => self.usable(user),
        }
    }

    async fn named(&mut self, name: &str) -> Result<Result<Option<User>, Flaw>, Failure> {
        let Cognito { client, pool, metrics, .. } = self.cognito;
        let request = client.admin_get_user().user_pool_id(pool.id.as_str()).username(name);
        let output = self.call(QuotaCategory::UserReads, || request.clone().send()).await?;
        let Some(output) = output else { return Ok(Ok(None)) };
        let user = response::user(response::as_listed(output), &self.user.sub);
        if user == Err(Flaw::AnotherUser) {
            metrics.unusable.get(UnusableResponse::AnotherUser).inc();
        }
        Ok(user.map(Some))
    }

    /// Lists the groups of the user with that name, and returns whether the user is enabled. None if
    /// the user is gone or has another name.
    /// The response does not name the user, and another user may have taken the name since, so the
    /// user is looked up once more afterwards.
    pub(in super::super) async fn groups(
        &mut self,
        name: &Username,
    ) -> Result<Option<(Groups, bool)>, Failure> {
        let Some(groups) = self.list_groups(name).await? else { return Ok(None) };
        let user = match self.cognito.pool.bare_sub {
            BareSubLookup::ListUsers => self.list_users().await?,
            BareSubLookup::AdminGetUser | BareSubLookup::AdminGetUserThenListUsers => {
                self.admin_get_user(name.as_str()).await?
            }
        };
        Ok(user.filter(|user| user.username == *name).map(|user| (groups, user.enabled)))
    }

    /// A user is in at most 100 groups (developer guide, "Quotas in Amazon Cognito"); a page has
    /// 60.
    async fn list_groups(&mut self, name: &Username) -> Result<Option<Groups>, Failure> {
        let Cognito { client, pool, .. } = self.cognito;
        let request = client.admin_list_groups_for_user().user_pool_id(pool.id.as_str());
        let request = request.username(name.as_str()).limit(LARGEST_PAGE);
        let (mut names, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = request.clone().set_next_token(token);
            let page = self.call(QuotaCategory::GroupReads, || request.clone().send()).await?;
            let Some(page) = page else { return Ok(None) };
            let groups = page.groups.ok_or_else(|| self.unusable(Flaw::unreadable("Groups")))?;
            names.extend(groups.into_iter().map(|group| group.group_name.unwrap_or_default()));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return names.try_into().map(Some).map_err(|_| self.unusable(Flaw::unreadable("GroupName")));
            }
        }
        Err(self.unusable(Flaw::unreadable("NextToken")))
    }

    /// The filter matches exactly, and the alphabet of `Sub` has no quotes to escape. A filtered
    /// page may be empty and not be the last (API reference, `ListUsers`), so a few pages are
    /// followed, up to a local user: a federated one may be linked to it.
    async fn list_users(&mut self) -> Result<Option<User>, Failure> {
        let Cognito { client, pool, .. } = self.cognito;
        let filter = format!("sub = \"{}\"", self.user.sub.as_str());
        let request = client.list_users().user_pool_id(pool.id.as_str()).filter(filter);
        let (mut entries, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = request.clone().set_pagination_token(token);
            let page = self.call(QuotaCategory::Lists, || request.clone().send()).await?;
            let Some(page) = page else { return Ok(None) };
            // An empty list means that there is no such user; a missing list means nothing.
            for record in page.users.ok_or_else(|| self.unusable(Flaw::unreadable("Users")))? {
                let entry = response::user(record, &self.user.sub);
                entries.push(self.usable(entry)?);
            }
            token = page.pagination_token.filter(|token| !token.is_empty());
            if token.is_none() || !entries.iter().all(response::is_external) {
                break;
            }
        }
        // The local user may be on a page that was not read.
        if token.is_some() && entries.iter().all(response::is_external) {
            return Err(Failure::Unavailable);
        }
        self.usable(response::linked(entries))
    }

    fn usable<T>(&self, answer: Result<T, Flaw>) -> Result<T, Failure> {
        answer.map_err(|flaw| self.unusable(flaw))
    }

    pub(super) fn unusable(&self, flaw: Flaw) -> Failure {
        match flaw {
            // A list by `sub` contradicts its filter.
            Flaw::AnotherUser | Flaw::Contradictory => Failure::WrongUser,
            Flaw::Unreadable(field) => {
                self.cognito.fields.note(field, false);
                Failure::Unreadable
            }
        }
    }
}

const LARGEST_PAGE: i32 = 60;
const MAX_PAGES: usize = 5;

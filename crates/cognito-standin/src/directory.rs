//! The users of the pool and their sessions.

use std::time::SystemTime;

use super::{api_error::ApiError, sessions::Sessions, user::User};

/// Users in order of creation, and their sessions.
#[derive(Default)]
pub(super) struct Directory {
    users: Vec<User>,
    pub(super) sessions: Sessions,
}

impl Directory {
    pub(super) fn new(users: Vec<User>) -> Self {
        Self { users, sessions: Sessions::default() }
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// Returns the user that Cognito resolves `name` to. A username takes precedence over a `sub`.
    pub(super) fn find(&self, name: &str) -> Result<&User, ApiError> {
        self.users.get(self.position(name)?).ok_or(ApiError::UserNotFound)
    }

    /// Changes a user and sets its modification time.
    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut User)) -> Result<&User, ApiError> {
        let at = self.position(name)?;
        let user = self.users.get_mut(at).ok_or(ApiError::UserNotFound)?;
        change(user);
        user.modified_at = SystemTime::now();
        Ok(user)
    }

    pub(super) fn add(&mut self, user: User) -> Result<(), ApiError> {
        if self.users.iter().any(|other| other.username == user.username) {
            return Err(ApiError::UsernameExists);
        }
        self.users.push(user);
        Ok(())
    }

    /// Adds a user, or replaces the one with the same username.
    pub(super) fn put(&mut self, user: User) {
        match self.users.iter_mut().find(|other| other.username == user.username) {
            Some(other) => *other = user,
            None => self.users.push(user),
        }
    }

    /// Changes every user that `is_concerned` selects, and sets its modification time.
    pub(super) fn edit_all(
        &mut self,
        is_concerned: impl Fn(&User) -> bool,
        mut change: impl FnMut(&mut User),
    ) {
        for user in self.users.iter_mut().filter(|user| is_concerned(user)) {
            change(user);
            user.modified_at = SystemTime::now();
        }
    }

    /// Removes a user and its sessions.
    pub(super) fn remove(&mut self, name: &str) -> Result<User, ApiError> {
        let user = self.users.remove(self.position(name)?);
        self.sessions.end_all(&user.username);
        Ok(user)
    }

    fn position(&self, name: &str) -> Result<usize, ApiError> {
        let exact = self.users.iter().position(|user| user.username == name);
        exact
            .or_else(|| self.users.iter().position(|user| user.is_found_by(name)))
            .ok_or(ApiError::UserNotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::claims::SignIn, *};

    fn directory() -> Directory {
        Directory::new(vec![User::local("eve", "p"), User::federated("Google_1")])
    }

    #[test]
    fn a_federated_user_is_not_found_by_sub() {
        let directory = directory();
        let [eve, google] = [&directory.users()[0], &directory.users()[1]];
        assert_eq!(directory.find(&eve.sub).expect("local").username, "eve");
        assert!(matches!(directory.find(&google.sub), Err(ApiError::UserNotFound)));
        assert_eq!(directory.find("Google_1").expect("federated").sub, google.sub);
    }

    #[test]
    fn a_change_updates_the_modification_time_only() {
        let mut directory = directory();
        directory.edit("eve", |eve| eve.modified_at = SystemTime::UNIX_EPOCH).expect("eve");
        let eve = directory.find("eve").expect("eve");
        assert!(eve.modified_at > SystemTime::UNIX_EPOCH && eve.modified_at >= eve.created_at);
        assert!(matches!(directory.edit("mel", |_| ()), Err(ApiError::UserNotFound)));
    }

    #[test]
    fn removing_a_user_frees_the_name_and_ends_the_sessions() {
        let mut directory = directory();
        let token = directory.sessions.add(SignIn::new("eve", "client"));
        assert!(directory.sessions.get(&token).is_some());
        assert!(matches!(directory.add(User::local("eve", "q")), Err(ApiError::UsernameExists)));
        directory.remove("eve").expect("eve");
        assert!(directory.sessions.get(&token).is_none());
        assert!(directory.add(User::local("eve", "q")).is_ok());
    }
}

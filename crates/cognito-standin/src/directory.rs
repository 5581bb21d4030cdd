//! The people of the pool and their sessions, as they are now.

use std::{collections::HashMap, time::SystemTime};

use uuid::Uuid;

use super::{claims::SignIn, failure::Failure, person::Person};

/// People in the order of their making, and sign-ins by refresh token.
#[derive(Default)]
pub(super) struct Directory {
    people: Vec<Person>,
    sessions: HashMap<String, SignIn>,
}

impl Directory {
    pub(super) fn new(people: Vec<Person>) -> Self {
        Self { people, sessions: HashMap::new() }
    }

    pub(super) fn people(&self) -> &[Person] {
        &self.people
    }

    /// The user that Cognito resolves `name` to; a username goes before a `sub`.
    pub(super) fn find(&self, name: &str) -> Result<&Person, Failure> {
        let exact = self.people.iter().find(|person| person.username == name);
        exact
            .or_else(|| self.people.iter().find(|person| person.answers_to(name)))
            .ok_or(Failure::UserNotFound)
    }

    /// Changes a user and notes the time.
    pub(super) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Person)) -> Result<(), Failure> {
        let username = self.find(name)?.username.clone();
        let person =
            self.people.iter_mut().find(|person| person.username == username).ok_or(Failure::UserNotFound)?;
        change(person);
        person.modified_at = SystemTime::now();
        Ok(())
    }

    pub(super) fn add(&mut self, person: Person) -> Result<(), Failure> {
        if self.people.iter().any(|other| other.username == person.username) {
            return Err(Failure::UsernameExists);
        }
        self.people.push(person);
        Ok(())
    }

    /// Adds a user, in place of one with the same username.
    pub(super) fn put(&mut self, person: Person) {
        match self.people.iter_mut().find(|other| other.username == person.username) {
            Some(other) => *other = person,
            None => self.people.push(person),
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<Person, Failure> {
        let username = self.find(name)?.username.clone();
        self.revoke(&username);
        let at =
            self.people.iter().position(|person| person.username == username).ok_or(Failure::UserNotFound)?;
        Ok(self.people.remove(at))
    }

    /// Keeps a sign-in and answers its refresh token.
    pub(super) fn open(&mut self, sign_in: SignIn) -> String {
        let token = format!("{}.{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.sessions.insert(token.clone(), sign_in);
        token
    }

    /// The sign-in of a refresh token.
    pub(super) fn session(&self, token: &str) -> Option<&SignIn> {
        self.sessions.get(token)
    }

    /// Ends every session of a user; enabling it later does not bring them back.
    pub(super) fn revoke(&mut self, username: &str) {
        self.sessions.retain(|_, sign_in| sign_in.username != username);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        Directory::new(vec![Person::local("eve", "p"), Person::federated("Google_1")])
    }

    #[test]
    fn a_federated_user_is_not_found_by_sub() {
        let directory = directory();
        let [eve, google] = [&directory.people()[0], &directory.people()[1]];
        assert_eq!(directory.find(&eve.sub).expect("local").username, "eve");
        assert!(matches!(directory.find(&google.sub), Err(Failure::UserNotFound)));
        assert_eq!(directory.find("Google_1").expect("federated").sub, google.sub);
    }

    #[test]
    fn a_change_moves_the_modification_time_only() {
        let mut directory = directory();
        directory.edit("eve", |eve| eve.modified_at = SystemTime::UNIX_EPOCH).expect("eve");
        let eve = directory.find("eve").expect("eve");
        assert!(eve.modified_at > SystemTime::UNIX_EPOCH && eve.modified_at >= eve.created_at);
        assert!(matches!(directory.edit("mel", |_| ()), Err(Failure::UserNotFound)));
    }

    #[test]
    fn removing_a_user_frees_the_name_and_ends_the_sessions() {
        let mut directory = directory();
        let token = directory.open(SignIn::new("eve", "client"));
        assert!(directory.session(&token).is_some());
        assert!(matches!(directory.add(Person::local("eve", "q")), Err(Failure::UsernameExists)));
        directory.remove("eve").expect("eve");
        assert!(directory.session(&token).is_none());
        assert!(directory.add(Person::local("eve", "q")).is_ok());
    }
}

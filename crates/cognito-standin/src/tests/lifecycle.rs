//! Start, stop and resume.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
};

use serde_json::json;

use super::{
    super::{Fault, Pool, StandIn},
    head, ok, send, standin,
};

#[test]
fn a_stopped_standin_refuses_connections_and_resumes_with_its_state() {
    let standin = standin();
    standin.update_user("ada", |ada| ada.enabled = false).expect("ada");
    let hanging = {
        standin.inject_next("GetUser", 1, Fault::Hang);
        send(standin.address(), &head("GetUser"), "{}").expect("a connection")
    };
    standin.stop().expect("stops");
    let refused = TcpStream::connect(standin.address()).expect_err("a refused connection");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let mut left = Vec::new();
    assert!({ hanging }.read_to_end(&mut left).is_err() || left.is_empty());
    standin.resume().expect("serves");
    assert_eq!(ok(&standin, "AdminGetUser", json!({"Username": "ada"}))["Enabled"], false);
}

#[test]
fn another_stand_in_can_take_the_address_of_a_stopped_one() {
    let first = standin();
    ok(&first, "AdminGetUser", json!({"Username": "ada"}));
    first.stop().expect("stops");
    let second = StandIn::start_at(Pool::sandbox(), first.address()).expect("a stand-in");
    ok(&second, "AdminGetUser", json!({"Username": "ada"}));
    assert_eq!((first.calls("AdminGetUser"), second.calls("AdminGetUser")), (1, 1));
}

#[test]
fn only_loopback_is_served() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = StandIn::start_at(Pool::sandbox(), everywhere).expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

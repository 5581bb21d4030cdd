//! Tests of the stand-in over its socket, and their helpers.

mod cloudtrail;
mod control;
mod events;
mod faults;
mod lifecycle;
mod reading;
mod sign_out;
mod signin;
mod sqs;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};

use super::{Pool, StandIn};

fn standin() -> StandIn {
    StandIn::start(Pool::sandbox()).expect("a stand-in")
}

fn send(address: SocketAddr, head: &str, body: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    let request =
        format!("{head}\r\nhost: standin\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

fn exchange(address: SocketAddr, head: &str, body: &str) -> io::Result<(u16, String)> {
    let mut text = String::new();
    send(address, head, body)?.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

fn head(operation: &str) -> String {
    format!("POST / HTTP/1.1\r\nx-amz-target: AWSCognitoIdentityProviderService.{operation}")
}

fn call(standin: &StandIn, operation: &str, input: &Value) -> (u16, Value) {
    call_service(standin, "AWSCognitoIdentityProviderService", operation, input)
}

fn call_service(standin: &StandIn, service: &str, operation: &str, input: &Value) -> (u16, Value) {
    let head = format!("POST / HTTP/1.1\r\nx-amz-target: {service}.{operation}");
    let (status, body) = exchange(standin.address(), &head, &input.to_string()).expect("a response");
    (status, serde_json::from_str(&body).expect("JSON"))
}

/// Calls an operation with the pool's id. Asserts success and returns the output.
fn ok(standin: &StandIn, operation: &str, mut input: Value) -> Value {
    input["UserPoolId"] = json!(POOL);
    let (status, output) = call(standin, operation, &input);
    assert_eq!(status, 200, "{operation}: {output}");
    output
}

/// Calls an operation with the pool's id. Asserts an error and returns its name and message.
fn refused(standin: &StandIn, operation: &str, mut input: Value) -> (String, String) {
    if input.get("UserPoolId").is_none() {
        input["UserPoolId"] = json!(POOL);
    }
    let (status, output) = call(standin, operation, &input);
    assert_eq!(status, 400, "{operation}: {output}");
    let text = |name: &str| output[name].as_str().expect("text").to_owned();
    (text("__type"), text("message"))
}

fn sign_in(standin: &StandIn, username: &str, password: &str) -> (u16, Value) {
    let parameters = json!({"USERNAME": username, "PASSWORD": password});
    call(
        standin,
        "InitiateAuth",
        &json!({"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": WEB, "AuthParameters": parameters}),
    )
}

fn get(standin: &StandIn, path: &str) -> (u16, String) {
    exchange(standin.address(), &format!("GET {path} HTTP/1.1"), "").expect("a response")
}

const POOL: &str = "eu-west-1_Sandbox01";
const WEB: &str = "sandboxwebclient0000000001";

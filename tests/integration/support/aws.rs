use cognito_standin::StandIn;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Calls an operation of the stand-in's pool, as the AWS CLI does. Asserts success.
pub(crate) async fn call(cognito: &StandIn, operation: &str, mut input: Value) -> Value {
    input["UserPoolId"] = json!(cognito.pool_id());
    let body = input.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: cognito\r\nconnection: close\r\n\
         x-amz-target: AWSCognitoIdentityProviderService.{operation}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(cognito.address()).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Gives a user another name, as an administrator does.
pub(crate) async fn rename(cognito: &StandIn, username: &str, name: &str) {
    let attributes = json!([{"Name": "name", "Value": name}]);
    let input = json!({"Username": username, "UserAttributes": attributes});
    call(cognito, "AdminUpdateUserAttributes", input).await;
}

//! `revoke`: refuses access tokens that were already issued.

use std::{path::PathBuf, time::SystemTime};

use clap::Args;

use super::{
    CommandError,
    client::{self, Common},
    print,
};
use crate::proto::{RevokeTokensRequest, RevokeTokensResponse, revoke_tokens_request::Tokens};

/// The tokens to revoke.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The user's sub; `-` reads it from standard input [default: the user of --family-of]
    #[arg(required_unless_present = "family_of")]
    sub: Option<String>,
    /// Refuse the tokens issued until this time, such as 2026-11-29T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak, conflicts_with = "family_of")]
    issued_until: Option<SystemTime>,
    /// Refuse only the tokens of the sign-in that the access token in this file comes from; `-`
    /// reads standard input
    #[arg(long, value_name = "FILE")]
    family_of: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Revokes the tokens and prints until when they are refused.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { sub, issued_until, family_of, common: Common { user_pool_id, output, client } } =
        arguments;
    let sub = sub.as_deref().map(client::parse_sub).transpose()?;
    let family = family_of.as_deref().map(client::read_text).transpose()?;
    let tokens = family.map(|token| Tokens::AccessToken(token.trim().to_owned()));
    let connection = client.connect().await?;
    let request = connection.request(RevokeTokensRequest {
        sub: sub.map(|sub| sub.as_str().to_owned()).unwrap_or_default(),
        user_pool_id: user_pool_id.unwrap_or_default(),
        tokens: tokens.or_else(|| Some(Tokens::IssuedUntil(issued_until?.into()))),
    });
    let answer = connection.finish(connection.admin().revoke_tokens(request).await).await?;
    output.print("RevokeTokensResponse", &answer, format_answer)
}

fn format_answer(answer: &RevokeTokensResponse) -> String {
    let replicas = if answer.reached_all_replicas { "all were told" } else { "only the one that answered" };
    print::format_rows(&[
        ("refused until", answer.refused_until.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("replicas", replicas.to_owned()),
    ])
}
